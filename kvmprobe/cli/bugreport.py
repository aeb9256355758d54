"""``kvmprobe bugreport``: a failure as a mail to the kernel's developers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.files import write
from kvmprobe.cli.grammar.choices import Where
from kvmprobe.cli.grammar.shared import RUN_HELP
from kvmprobe.cli.scenario import SCENARIO_HELP, named
from kvmprobe.errors import ExitCode, ScenarioError, Unavailable
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.reports.bug_report.case import case_of
from kvmprobe.reports.bug_report.mail import Reproducer, advice_lines, report
from kvmprobe.repro.ended import GO_ON, REPRODUCED
from kvmprobe.results.run_document import read_run

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from kvmprobe.scenarios.scenario import Scenario


def add_arguments(bugreport: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    bugreport.add_argument("run", type=Path, metavar="RUN", help=RUN_HELP)
    bugreport.add_argument("scenario", metavar="SCENARIO", help=SCENARIO_HELP)
    bugreport.add_argument(
        "--also",
        action="append",
        default=[],
        type=Path,
        metavar="RUN",
        help="a run on another kernel, affected or not; several may be given",
    )
    bugreport.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the mail there (default: standard output)",
    )
    bugreport.add_argument(
        "--reproducer",
        type=Path,
        metavar="FILE",
        help="write the C program to FILE, not into the mail",
    )
    bugreport.add_argument(
        "--target",
        choices=[Where.HOST.value, Where.LAB.value],
        help="where it failed, if the run was on both",
    )


def run(arguments: argparse.Namespace, _console: Console) -> ExitCode:
    """Write the report; on standard error, whether it looks unreported and who gets it.

    :raises UsageError: the run has no such failure, or a file cannot be written
    """
    document = read_run(arguments.run)
    others = [read_run(path) for path in arguments.also]
    scenario = named(arguments.scenario, sapphire_rapids(), arguments.run)
    case = case_of(document, others, scenario.id, scenario.needs, arguments.target)
    program = _program(scenario, arguments.reproducer)
    if arguments.reproducer and program:
        write("--reproducer", arguments.reproducer, program.text)
    written = report(case, program)
    if arguments.output or not sys.stdout.isatty():
        for line in advice_lines(case):
            print(line, file=sys.stderr)
    if arguments.output is None:
        sys.stdout.write(written)
    else:
        write("--output", arguments.output, written)
    return ExitCode.OK


def _program(scenario: Scenario, file: Path | None) -> Reproducer | None:
    """Return the scenario as a C program; None if there cannot be one."""
    host = sapphire_rapids()
    try:
        # Needs the compiled extension, which rendering a kept run does not.
        from kvmprobe.repro.program import is_gated, program  # noqa: PLC0415

        go_on = GO_ON if is_gated(scenario, host) else ""
        name = file.name if file else ""
        return Reproducer(program(scenario, host), REPRODUCED, go_on, name)
    except (ScenarioError, Unavailable) as reason:
        print(f"kvmprobe: no reproducer: {reason}", file=sys.stderr)
        return None
