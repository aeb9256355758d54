"""``kvmprobe run``: this host, the emulated one, or both; records to the terminal and to JSON."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.cli.exit_style import outcome
from kvmprobe.cli.live_reports import LiveReports
from kvmprobe.cli.select import all_ids, in_catalog_order, wanted
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import (
    DownloadFailed,
    ExitCode,
    HostStuck,
    LabError,
    MissingTools,
    RunTimeout,
    Unavailable,
    UsageError,
)
from kvmprobe.execution.place import Stakes, ThisHost, timed
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.execution.verdicts import as_expected_failure
from kvmprobe.reports.console import print_lines, show
from kvmprobe.reports.json_report import JsonReport
from kvmprobe.results.run_document import Ending
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rich.console import Console

    from kvmprobe.execution.place import Place
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import ScenarioRecord

_SHOWN_IDS = 10


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Run what the arguments want, where they want it."""
    _check(arguments)
    chosen = wanted(arguments.select)
    session = _Session(arguments, [i for i in all_ids() if chosen(i)])
    ended: BaseException | None = None
    try:
        with progress() as status:
            session.run(chosen, status)
    except (KeyboardInterrupt, RunTimeout, HostStuck, LabError, Unavailable) as error:
        ended = error
    session.close(complete=ended is None)
    show(console, in_catalog_order(session.records), time.monotonic() - session.started)
    print_lines(console, session.notes)
    if ended is None:
        return outcome({record.verdict for record in session.records})
    _tell_remaining(session.not_completed)
    raise ended


def _check(arguments: argparse.Namespace) -> None:
    if arguments.target == "host" and arguments.kernel:
        raise UsageError("--kernel means the emulated host; it does not go with --target host")
    if arguments.target == "host" and arguments.all_crashes and not arguments.hazardous:
        raise UsageError("--all-crashes on this host needs --hazardous")
    if arguments.modules and not arguments.kernel:
        raise UsageError("--modules belongs to a bzImage: give it with --kernel")


class _Session:
    """What one invocation runs, and what came of it."""

    def __init__(self, arguments: argparse.Namespace, planned: list[str]) -> None:
        self.started = time.monotonic()
        self.records: list[ScenarioRecord] = []
        self.notes: list[str] = []
        self._arguments = arguments
        self._deadline = self.started + (arguments.timeout or float("inf"))
        self._json = JsonReport(arguments.json, sys.argv) if arguments.json else None
        self._reports = LiveReports(arguments.report, sys.argv, planned)
        self._runner: Runner | None = None

    def run(self, chosen: Callable[[str], bool], status: Progress) -> None:
        """Run on the host, on the emulated host, or on both."""
        if self._arguments.kernel or self._arguments.target == "lab":
            self._run_lab(chosen, status)
            return
        try:
            unsuited = self._run_at(ThisHost(self._arguments.device), chosen, status)
        except Unavailable as reason:
            if self._arguments.target == "host":
                raise
            self.notes.append(
                f"this host cannot run any of it ({reason.code}: {reason}): emulated host only"
            )
            self._run_lab(chosen, status)
            return
        if unsuited and self._arguments.target == "auto":
            self._run_unsuited(unsuited, status)
        else:
            self._take_all(unsuited)

    def _run_unsuited(self, unsuited: list[ScenarioRecord], status: Progress) -> None:
        """Run on the emulated host what this host cannot."""
        try:
            self._run_lab({record.id for record in unsuited}.__contains__, status)
        except (MissingTools, DownloadFailed) as missing:
            self._take_all(unsuited)
            self.notes.append(f"nor is there an emulated host for them: {missing}")
            return
        self.notes += [
            f"{count} scenarios ran on the emulated host, because here: {reason}"
            for reason, count in Counter(record.reason for record in unsuited).items()
        ]

    def _run_lab(self, chosen: Callable[[str], bool], status: Progress) -> None:
        # Loaded only where an emulated host is wanted.
        from kvmprobe.cli.archives import archives_of  # noqa: PLC0415
        from kvmprobe.lab.place import EmulatedHost  # noqa: PLC0415

        place = EmulatedHost.prepare(
            archives_of(self._arguments),
            self._arguments.kernel,
            self._arguments.modules,
            status,
            tarball=self._arguments.tarball,
        )
        self._take_all(self._run_at(place, chosen, status))

    def _run_at(
        self, place: Place, chosen: Callable[[str], bool], status: Progress
    ) -> list[ScenarioRecord]:
        place = timed(place, self._arguments.scenario_timeout, self._arguments.step_timeout)
        policy = _hazardous(place, self._arguments)
        self._runner = Runner(place, policy, self._take, status, self._deadline)
        self._runner.run(chosen)
        self.notes += self._runner.blind_spots
        return self._runner.unsuited

    def _take(self, record: ScenarioRecord) -> None:
        if self._arguments.known == "xfail":
            record = as_expected_failure(record)
        if self._json:
            self._json.add(record)
        self._reports.add(record)
        # What passed is only counted from here on; thousands of step records would be kept for it.
        passed = record.verdict in {Verdict.PASS, Verdict.XFAIL}
        self.records.append(replace(record, steps=()) if passed else record)

    def _take_all(self, records: list[ScenarioRecord]) -> None:
        for record in records:
            self._take(record)

    @property
    def not_completed(self) -> list[str]:
        """Ids that were planned and have no record."""
        return list(self._runner.remaining) if self._runner else []

    def close(self, *, complete: bool) -> None:
        """End the JSON document and the reports."""
        if self._json:
            self._json.finish(self.not_completed, complete=complete)
            self._json.close()
        self._reports.finish(Ending.COMPLETE if complete else Ending.CUT_SHORT)


def _hazardous(place: Place, arguments: argparse.Namespace) -> Hazardous:
    if place.stakes is Stakes.REAL and not arguments.hazardous:
        return Hazardous.STOP
    return Hazardous.EVERY if arguments.all_crashes else Hazardous.FIRST_OF_A_KIND


def _tell_remaining(ids: list[str]) -> None:
    if not ids:
        return
    print(f"kvmprobe: {len(ids)} scenarios did not complete:", file=sys.stderr)
    for scenario_id in ids[:_SHOWN_IDS]:
        print(f"  {scenario_id}", file=sys.stderr)
    if len(ids) > _SHOWN_IDS:
        print(f"  ... and {len(ids) - _SHOWN_IDS} more", file=sys.stderr)
