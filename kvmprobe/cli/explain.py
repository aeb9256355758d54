"""``kvmprobe explain``: what the model expects of one scenario on a given host; a known defect."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kvmprobe.cli.explained_host import add_host, explained_host
from kvmprobe.cli.scenario import SCENARIO_HELP, named
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.explain import explain
from kvmprobe.reports.known_defect import defect_lines
from kvmprobe.results.known import known_defects
from kvmprobe.scenarios.document import to_document

if TYPE_CHECKING:
    import argparse

    from rich.console import Console


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    command.add_argument(
        "scenario",
        metavar="SCENARIO|DEFECT",
        help=f"{SCENARIO_HELP}; or a known defect: its id (B1), its CVE, or the function in which "
        "the host dies, from the call trace of a panic",
    )
    command.add_argument("--json", action="store_true", help="print it as a document, for `replay`")
    add_host(command)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Explain the scenario or the known defects that the arguments name.

    :raises UsageError: there is no such scenario, variant, defect or run
    """
    name = arguments.scenario
    if defects := [defect for defect in known_defects().values() if name in defect.names]:
        print_lines(console, [line for defect in defects for line in defect_lines(defect)])
        return ExitCode.OK
    if "." not in name:
        ids = ", ".join(defect.id for defect in known_defects().values())
        raise UsageError(
            f"{name!r} is neither a scenario nor a known defect nor the function of its panic; "
            f"known defects: {ids}; `kvmprobe list` lists the scenarios"
        )
    host = explained_host(arguments)
    scenario = named(name, host.profile)
    if arguments.json:
        sys.stdout.write(to_document(scenario))
    else:
        print_lines(console, [*host.lines, *explain(scenario, host.profile)])
    return ExitCode.OK
