"""``kvmprobe replay``: one scenario from a file, run and judged like those of the catalogue."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.choices import Where
from kvmprobe.cli.grammar.host import add_host_checks, check_host
from kvmprobe.cli.grammar.shared import add_device, add_kernel
from kvmprobe.cli.places import crash_policy, emulated_host, refuse_kernel_of_host
from kvmprobe.cli.scenario import read
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode, Unavailable
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.runner import Runner
from kvmprobe.reports.console import print_lines, show
from kvmprobe.reports.json_report import JsonReport
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from kvmprobe.execution.place import Place
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.scenarios.scenario import Scenario

_STATUSES = {
    Verdict.PASS: ExitCode.OK,
    Verdict.SKIPPED: ExitCode.NOTHING_RAN,
    Verdict.BROKEN: ExitCode.TOOL_BUG,
}


def add_arguments(replay: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    replay.add_argument(
        "file", type=Path, metavar="FILE", help="a scenario, as `explain --json` writes it"
    )
    replay.add_argument(
        "--target",
        type=Where.parse,
        choices=list(Where),
        default=Where.AUTO,
        help="this host, the emulated host, or the host if it can run it (default: %(default)s)",
    )
    replay.add_argument("--json", type=Path, metavar="FILE", help="write the record to FILE")
    replay.add_argument(
        "--hazardous", action="store_true", help="on this host too, go on to what can PANIC it"
    )
    replay.set_defaults(all_crashes=False)  # one scenario has no others of its kind
    add_host_checks(replay)
    add_device(replay)
    add_kernel(replay)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Run the scenario in the file; nothing is run before all of it has been understood.

    :raises UsageError: the arguments contradict each other, or the file cannot be read
    :raises ScenarioError: the file describes no scenario
    """
    refuse_kernel_of_host(arguments)
    started = time.monotonic()
    scenario = read(arguments.file)
    with progress() as status:
        record, notes = _run(arguments, scenario, status)
    if arguments.json:
        report = JsonReport(arguments.json, sys.argv)
        report.add(record)
        report.finish([], complete=True)
        report.close()
    show(console, [record], time.monotonic() - started)
    print_lines(console, notes)
    return _STATUSES.get(record.verdict, ExitCode.DIVERGED)


def _run(
    arguments: argparse.Namespace, scenario: Scenario, status: Progress
) -> tuple[ScenarioRecord, list[str]]:
    if arguments.target is not Where.LAB and not arguments.kernel:
        try:
            said = check_host(arguments)
            record, notes = _run_at(ThisHost(arguments.device), arguments, scenario, status)
        except Unavailable:
            if arguments.target is Where.HOST:
                raise
        else:
            if arguments.target is Where.HOST or record.verdict is not Verdict.SKIPPED:
                return record, [*said, *notes]
    return _run_at(emulated_host(arguments, status), arguments, scenario, status)


def _run_at(
    place: Place, arguments: argparse.Namespace, scenario: Scenario, status: Progress
) -> tuple[ScenarioRecord, list[str]]:
    records: list[ScenarioRecord] = []
    runner = Runner(place, crash_policy(arguments, place), records.append, status)
    runner.run(lambda _: True, lambda _: (scenario,))
    (record,) = [*records, *runner.not_runnable]
    return record, runner.blind_spots
