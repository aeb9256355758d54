"""One attempt of a run: where the scenarios run, and what receives the records."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.cli.fit_host import check_host
from kvmprobe.cli.fleet import extra_for
from kvmprobe.cli.grammar.choices import OfKnown, Where
from kvmprobe.cli.live_reports import LiveReports
from kvmprobe.cli.places import crash_policy, emulated_host, is_emulated, watched
from kvmprobe.errors import (
    DownloadFailed,
    MissingTools,
    RunDirectoryError,
    Unavailable,
)
from kvmprobe.execution.place import ThisHost, timed
from kvmprobe.execution.runner import Runner
from kvmprobe.judge.verdicts import as_expected_failure
from kvmprobe.reports.json_report import JsonReport
from kvmprobe.results.run_document import Ending
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from kvmprobe.cli.attempt import Attempt
    from kvmprobe.execution.place import Place
    from kvmprobe.lab.place import EmulatedHost
    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
    from kvmprobe.reports.live import Live
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.scenarios.scenario import Scenario

    Listed = Callable[[HostProfile], Sequence[Scenario]]


class Session:
    """What one attempt runs, and its results.

    :ivar records: of this and earlier attempts; those that passed without their steps
    :ivar notes: notes for the reader of the run
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        attempt: Attempt,
        live: Live,
        emulated: EmulatedHost | None,
        listed: Listed,
    ) -> None:
        """Start the reports with the records of earlier attempts.

        :param emulated: the emulated host, if it has been prepared
        :param listed: returns the scenarios for a host
        :raises UsageError: a report cannot be written
        :raises ReportFileError: its file system is full
        """
        self.started = time.monotonic()
        self.records: list[ScenarioRecord] = []
        self.notes: list[str] = []
        self._arguments = arguments
        budget = 60 * arguments.budget if arguments.budget else float("inf")
        self._timeout = self.started + (arguments.timeout or float("inf"))
        self._deadline = min(self._timeout, self.started + budget)
        self._json = JsonReport(arguments.json, sys.argv) if arguments.json else None
        self._attempt = attempt
        self._live = live
        self._emulated = emulated
        self._listed = listed
        self._left = dict.fromkeys(attempt.planned)
        self._reports = LiveReports(arguments.report, attempt.begun, attempt.planned)
        for record in attempt.earlier:
            self._show(record)

    def run(self, chosen: Callable[[str], bool], status: Progress) -> None:
        """Run on the host, on the emulated host, or on both; or on those of a fleet."""
        if self._arguments.scheduler is not None:
            self._run_fleet(chosen, status)
            return
        if is_emulated(self._arguments):
            self._run_lab(chosen, status)
            return
        try:
            self.notes += check_host(self._arguments)
            not_runnable = self._run_at(ThisHost(self._arguments.device), chosen, status)
        except Unavailable as reason:
            if self._arguments.target == Where.HOST:
                raise
            self.notes.append(
                f"nothing can run on this host ({reason.code}: {reason}): emulated host only"
            )
            self._run_lab(chosen, status)
            return
        if not_runnable and self._arguments.target == Where.AUTO:
            self._run_not_runnable(not_runnable, status)
        else:
            self._take_all(not_runnable)

    def _run_not_runnable(self, not_runnable: list[ScenarioRecord], status: Progress) -> None:
        """Run on the emulated host what this host cannot."""
        try:
            self._run_lab({record.id for record in not_runnable}.__contains__, status)
        except (MissingTools, DownloadFailed) as missing:
            self._take_all(not_runnable)
            self.notes.append(f"there is no emulated host for them either: {missing}")
            return
        self.notes += [
            f"{count} scenarios ran on the emulated host, because of this host: {reason}"
            for reason, count in Counter(record.reason for record in not_runnable).items()
        ]

    def _run_fleet(self, chosen: Callable[[str], bool], status: Progress) -> None:
        with extra_for("--scheduler"):
            from kvmprobe.cli.campaign import Fleet  # noqa: PLC0415
        fleet = Fleet(self._arguments, self._attempt, self.take, status)
        try:
            fleet.run([i for i in self.not_completed if chosen(i)], self._deadline)
        finally:
            self.notes += fleet.notes

    def _run_lab(self, chosen: Callable[[str], bool], status: Progress) -> None:
        place = self._emulated or emulated_host(self._arguments, status)
        place = watched(place, self._arguments, self._attempt.ledger, self.notes, status)
        with place:
            self._take_all(self._run_at(place, chosen, status))
        self.notes += place.template.notes
        if place.coverage is not None and place.coverage.problem:
            self.notes.append(f"coverage was not measured: {place.coverage.problem}")

    def _run_at(
        self, place: Place, chosen: Callable[[str], bool], status: Progress
    ) -> list[ScenarioRecord]:
        place = timed(place, self._arguments.scenario_timeout, self._arguments.step_timeout)
        policy = crash_policy(self._arguments, place)
        ledger = self._attempt.ledger
        runner = Runner(place, policy, self.take, status, self._deadline, ledger)
        runner.run(chosen, self._listed, self._attempt.past)
        self.notes += runner.blind_spots
        return runner.not_runnable

    def take(self, record: ScenarioRecord) -> None:
        """Record a scenario.

        :raises RunDirectoryError: the run's directory does not take it
        :raises ReportFileError: a report's file system is full
        """
        if self._arguments.known == OfKnown.XFAIL:
            record = as_expected_failure(record)
        self._attempt.ledger.record(record)
        self._show(record)
        self._live.add(record)

    def _show(self, record: ScenarioRecord) -> None:
        self._left.pop(record.id, None)
        if self._json:
            self._json.add(record)
        self._reports.add(record)
        # Passes are only counted from here on: do not keep thousands of step records.
        passed = record.verdict in {Verdict.PASS, Verdict.XFAIL}
        self.records.append(replace(record, steps=()) if passed else record)

    def _take_all(self, records: list[ScenarioRecord]) -> None:
        for record in records:
            self.take(record)

    @property
    def timed_out(self) -> bool:
        """True if ``--timeout`` has passed, not only the time that the run was given to use."""
        return time.monotonic() > self._timeout

    @property
    def not_completed(self) -> list[str]:
        """Planned ids without a record."""
        return list(self._left)

    def close(self, ending: Ending) -> None:
        """End the journal, the JSON document and the reports.

        :raises ReportFileError: a report's file system is full
        """
        complete = ending is Ending.COMPLETE
        # The error has been reported already.
        with contextlib.suppress(RunDirectoryError):
            self._attempt.ledger.finish(ending, self.not_completed, self.notes)
        if self._json:
            self._json.finish(self.not_completed, complete=complete)
            self._json.close()
        self._reports.finish(ending)
