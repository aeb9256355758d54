"""``kvmprobe explain``: what the model expects of one scenario, on a given host."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kvmprobe.cli.explained_host import add_host, explained_host
from kvmprobe.cli.scenario import SCENARIO_HELP, named
from kvmprobe.errors import ExitCode
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.explain import explain
from kvmprobe.scenarios.document import to_document

if TYPE_CHECKING:
    import argparse

    from rich.console import Console


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    command.add_argument("scenario", metavar="SCENARIO", help=SCENARIO_HELP)
    command.add_argument("--json", action="store_true", help="print it as a document, for `replay`")
    add_host(command)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Explain the scenario that the arguments name.

    :raises UsageError: there is no such scenario, variant, defect or run
    """
    host = explained_host(arguments)
    scenario = named(arguments.scenario, host.profile)
    if arguments.json:
        sys.stdout.write(to_document(scenario))
    else:
        print_lines(console, [*host.lines, *explain(scenario, host.profile)])
    return ExitCode.OK
