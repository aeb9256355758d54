"""``kvmprobe explain``: the model's view of one scenario, on a Sapphire Rapids host."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.cli.scenario import SCENARIO_HELP, named
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.explain import explain
from kvmprobe.results.known import known_defects
from kvmprobe.scenarios.document import to_document

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from kvmprobe.model.behaviours import Behaviour


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    command.add_argument("scenario", metavar="SCENARIO", help=SCENARIO_HELP)
    command.add_argument("--json", action="store_true", help="the scenario itself, for `replay`")
    command.add_argument(
        "--defect",
        action="append",
        default=[],
        metavar="ID",
        help="of a kernel with this known defect (B1, O1, ...), not of a correct one",
    )


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Explain the scenario that the arguments name.

    :raises UsageError: there is no such scenario, or no such defect
    """
    defects = frozenset(_behaviour(defect) for defect in arguments.defect)
    host = replace(sapphire_rapids(), behaviours=defects)
    scenario = named(arguments.scenario, host)
    if arguments.json:
        sys.stdout.write(to_document(scenario))
    else:
        print_lines(console, explain(scenario, host))
    return ExitCode.OK


def _behaviour(defect_id: str) -> Behaviour:
    by_id = {defect.id: behaviour for behaviour, defect in known_defects().items()}
    if defect_id not in by_id:
        raise UsageError(f"no known defect {defect_id!r}; known: {', '.join(sorted(by_id))}")
    return by_id[defect_id]
