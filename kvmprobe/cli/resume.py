"""``kvmprobe resume``: continue a run that was interrupted or that crashed this host."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe import __version__
from kvmprobe.cli import matrix, suite
from kvmprobe.cli.attempt import next_attempt
from kvmprobe.cli.derived import unknown
from kvmprobe.cli.grammar.epilogs import EXIT_STYLES, RESUMING, end_with
from kvmprobe.cli.grammar.parser import parser
from kvmprobe.cli.grammar.shared import RUN_TIME, Number, add_exit_style, add_jobs
from kvmprobe.cli.orders import kept, listing, planned
from kvmprobe.cli.run import carry_out
from kvmprobe.cli.terminal import print_line
from kvmprobe.errors import UsageError
from kvmprobe.results.matrix import is_matrix, read_matrix

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from kvmprobe.errors import ExitCode


def add_arguments(resume: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    resume.add_argument("run", type=Path, metavar="DIR", help="the directory of the run or matrix")
    resume.add_argument(
        "--retries",
        type=Number(int, 0, 1000, "retries"),
        default=1,
        metavar="K",
        help="run a scenario during which this host crashed K more times, alone "
        "(default: %(default)s)",
    )
    resume.add_argument(
        "--timeout",
        type=RUN_TIME,
        metavar="SECONDS",
        help="end this attempt after that time (default: the --timeout of the first attempt)",
    )
    add_jobs(resume, "as in the first attempt")
    resume.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="continue a campaign on the scheduler at that address (default: as in the first "
        "attempt)",
    )
    add_exit_style(resume, "convention of the exit status (default: as in `kvmprobe --help`)")
    end_with(resume, RESUMING, EXIT_STYLES)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Run the scenarios without a record, with the arguments of the first attempt.

    :raises UsageError: there is no such run, or it was another kernel's
    """
    if is_matrix(arguments.run):
        is_suite = read_matrix(arguments.run).argv[:2] == suite.COMMAND
        return (suite.resume if is_suite else matrix.resume)(arguments, console)
    argv, attempt = next_attempt(arguments.run, arguments.retries)
    try:
        begun = parser(argv).parse_args(argv)
    except SystemExit as refused:
        raise UsageError(
            f"{attempt.path}: {attempt.begin['tool']} started it with arguments that "
            f"kvmprobe {__version__} does not accept: {shlex.join(argv)}"
        ) from refused
    begun.timeout = arguments.timeout or begun.timeout
    begun.jobs = arguments.jobs or begun.jobs
    if arguments.scheduler is not None:
        if begun.scheduler is None:
            raise UsageError(
                f"--scheduler is for a campaign; {attempt.path} is a run on one machine"
            )
        begun.scheduler = arguments.scheduler
    orders = kept(attempt.path)
    if gone := unknown(attempt.planned) - set(planned(orders)):
        print_line(
            f"kvmprobe: {len(gone)} scenarios that {attempt.begin['tool']} planned are not in the "
            f"catalogue of {__version__} and get no record: {', '.join(sorted(gone))}"
        )
    if not attempt.left:
        print_line("kvmprobe: nothing is left to run: every planned scenario has a record")
    return carry_out(
        begun, attempt, console, listed=listing(orders, attempt.path) if orders else None
    )
