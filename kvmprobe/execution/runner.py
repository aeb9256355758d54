"""Runs scenarios at one place: order, hazard gate, crashes, restarts of the worker.

Scenarios that the model predicts to be hazardous run last.  At an expendable place they crash, and
several links run side by side (``shards``).

On a real host one scenario runs at a time: its kernel log and taint belong to all of them.  The
gate in the worker stops a scenario before a guest-FPU load that is fatal by the last read-back, and
there it ends.  If the user allows crashes, gated scenarios are then repeated without the gate, with
at most one crash for each boot; of those with the same hazard and the same divergence only the
first is repeated, unless the user asked for every crash.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import replace
from enum import Enum
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from kvmprobe.abi.log_records import LOST_RECORDS, RECORDS_LOST
from kvmprobe.errors import BootFailed, HostStuck, RunTimeout
from kvmprobe.execution.driver import Driver, Request, TraceLostError
from kvmprobe.execution.judging import Judging
from kvmprobe.execution.ledger import NoLedger
from kvmprobe.execution.link import LinkLostError
from kvmprobe.execution.place import Risk
from kvmprobe.execution.plan import NO_PAST, Past, Planned, plan
from kvmprobe.execution.preflight import Preflight, examine
from kvmprobe.execution.shards import Shards
from kvmprobe.host.kernel_log import WATCHED
from kvmprobe.results.trace import End
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmprobe.execution.ledger import Ledger
    from kvmprobe.execution.link import Link
    from kvmprobe.execution.place import Place
    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import Crash, ScenarioRecord
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.scenario import Scenario


# Scenarios between two writes of the journal to the disk.  On a real host they are in flight at
# once, and after a panic each of them is a suspect.
_BATCH = {Risk.REAL: 32, Risk.EXPENDABLE: 64}


class Hazardous(Enum):
    """What to do with scenarios that can kill the host."""

    STOP = "stop after the read-back"
    FIRST_OF_A_KIND = "let the first of each kind crash, on a real host"
    EVERY = "let each crash"


class Runner:
    """One run at one place.

    :ivar remaining: ids of the planned scenarios that have no record yet
    :ivar not_runnable: records of the scenarios that cannot run here; the sink does not get them
    :ivar blind_spots: what could not be observed here, and why
    """

    def __init__(
        self,
        place: Place,
        hazardous: Hazardous,
        sink: Callable[[ScenarioRecord], None],
        progress: Progress,
        deadline: float = float("inf"),
        ledger: Ledger | None = None,
    ) -> None:
        """Prepare a run.

        :param sink: receives each record, in the order of the plan
        :param deadline: monotonic time at which the run ends, seconds
        """
        self._place = place
        self._hazardous = hazardous
        self._sink = sink
        self._progress = progress
        self._deadline = deadline
        self._ledger = ledger or NoLedger()
        self._preflight: Preflight | None = None
        self._judging: Judging | None = None
        self._waiting: list[tuple[Planned, ScenarioRecord]] = []
        self._crashed: list[tuple[Planned, ScenarioRecord]] = []
        self._total = 0
        self.remaining: dict[str, None] = {}
        self.not_runnable: list[ScenarioRecord] = []
        self.blind_spots: list[str] = []

    def run(
        self,
        wanted: Callable[[str], bool],
        listed: Callable[[HostProfile], Sequence[Scenario]] = catalog.scenarios,
        past: Past = NO_PAST,
    ) -> Preflight:
        """Run the scenarios that are listed for this host and wanted.

        :param wanted: returns True for the id of a scenario that should run
        :param listed: returns the scenarios for a host; by default the catalogue's
        :param past: results of earlier attempts; a recorded scenario runs only for comparison
        :raises Unavailable: KVM is not usable at this place
        :raises RunTimeout: the deadline passed; ``remaining`` has the ids that did not complete
        :raises HostStuck: a task cannot be killed; ``remaining`` as above
        """
        self._progress.stage(f"{self._place.target.description}: probing")
        planned: deque[Planned] | None = None
        while planned is None or planned:
            with self._place.open() as link:
                driver = self._driver(link)
                if planned is None:
                    scenarios = listed(self._examined.profile)
                    planned = self._plan(scenarios, wanted, past, driver)
                self._progress.stage(f"{self._place.target.description}: scenarios")
                if self._place.risk is Risk.EXPENDABLE:
                    break
                if self._drain(driver, planned, gate=1):
                    self._crash_phase(driver)
        if self._place.risk is Risk.EXPENDABLE:
            self._run_shards(list(planned))
        while self._waiting:
            with self._place.open() as link:
                self._crash_phase(self._driver(link))
        return self._examined

    def _driver(self, link: Link) -> Driver:
        """Connect to a new worker; probe the place the first time.

        :raises BootFailed: the kernel died or hung before the first scenario
        """
        try:
            driver = Driver(link, self._place.timing)
            if self._preflight is None:
                self._preflight = self._examine(driver)
                self._judging = Judging(self._preflight.profile, self._place.target)
        except LinkLostError as lost:
            if lost.crash is None and not lost.hung:
                raise
            report = lost.crash.report.splitlines() if lost.crash else []
            where = self._place.target.description
            message = f"{where}: lost before the first scenario: {lost}"
            raise BootFailed(message, tuple(report)) from lost
        return driver

    def _examine(self, driver: Driver) -> Preflight:
        recorded = self._place.recall()
        if recorded is not None:
            return Preflight.of_recorded(recorded)
        preflight = examine(driver)
        self._place.remember(preflight.recorded)
        return preflight

    @property
    def _examined(self) -> Preflight:
        assert self._preflight is not None  # noqa: S101 - set by the first _driver()
        return self._preflight

    def _plan(
        self,
        scenarios: Sequence[Scenario],
        wanted: Callable[[str], bool],
        past: Past,
        driver: Driver,
    ) -> deque[Planned]:
        preflight = self._examined
        if driver.kernel_log_state != WATCHED:
            self.blind_spots.append(f"kernel messages were not watched: {driver.kernel_log_state}")
        self._ledger.place(self._place.target, self._place.risk, preflight.recorded)
        assert self._judging is not None  # noqa: S101 - set by the first _driver()
        target = self._place.target
        made = plan(scenarios, wanted, preflight, target, past, self._judging.model_runs)
        self.not_runnable += made.not_runnable
        self._crashed += made.crashed
        self.remaining = dict.fromkeys(p.scenario.id for p in made.planned if not p.recorded)
        self._total = len(self.remaining)
        return deque(made.planned)

    def _run_shards(self, planned: Sequence[Planned]) -> None:
        """Run all planned scenarios at an expendable place."""
        shards = Shards(self._place, self._examined.profile)
        gate = 0 if self._crashes_allowed else 1
        requests = [Request(self._within_risk(p), gate) for p in planned]
        with contextlib.closing(shards.run(requests, self._deadline)) as results:
            for number, running in enumerate(planned):
                if number % _BATCH[self._place.risk] == 0:
                    batch = planned[number : number + _BATCH[self._place.risk]]
                    self._ledger.intend([p.scenario.id for p in batch])
                self._progress.now(running.scenario.id)
                try:
                    result = next(results)
                except TimeoutError:
                    raise self._time_is_up() from None
                if isinstance(result, TraceLostError):
                    self._settle_lost(running, result)
                else:
                    self._settle(running, result)
                self._check_deadline()

    def _drain(self, driver: Driver, planned: deque[Planned], gate: int) -> bool:
        """Run all planned scenarios in order; return False if the link is lost on the way."""
        while planned:
            batch = self._batch(planned)
            if gate:
                self._ledger.intend([p.scenario.id for p in batch])
            else:
                self._ledger.intend_fatal(batch[0].scenario.id)
            requests = [Request(self._within_risk(p), gate) for p in batch]
            try:
                self._progress.now(planned[0].scenario.id)
                for _, trace in driver.traces(requests, self._examined.profile):
                    self._settle(planned[0], trace)
                    planned.popleft()
                    if planned:
                        self._progress.now(planned[0].scenario.id)
                    self._check_deadline()
            except TraceLostError as lost:
                self._settle_lost(planned.popleft(), lost)
                return False
        return True

    def _batch(self, planned: deque[Planned]) -> list[Planned]:
        """Return the next scenarios to be in flight at once."""
        first = list(islice(planned, _BATCH[self._place.risk]))
        together = list(takewhile(lambda p: not p.alone, first))
        return together or first[:1]

    def _within_risk(self, planned: Planned) -> Scenario:
        """Cut the scenario before its fatal load unless crashes are allowed."""
        if planned.hazard is None or self._crashes_allowed:
            return planned.scenario
        return planned.scenario.upto(planned.hazard.step)

    @property
    def _crashes_allowed(self) -> bool:
        return self._hazardous is not Hazardous.STOP

    def _settle(self, planned: Planned, trace: Trace) -> None:
        record = self._judged(planned.scenario, trace)
        if planned.recorded:
            return
        cut_short = planned.hazard is not None and len(trace.steps) == planned.hazard.step
        if trace.end is End.GATED and self._crashes_allowed:
            _, load = planned.scenario.next_step(len(trace.steps))
            self._ledger.gated(record, load)
            self._waiting.append((planned, record))
            return
        if trace.end is End.GATED or (cut_short and not self._crashes_allowed):
            note = "stopped before a guest-FPU load that can panic this host; --hazardous makes it"
            record = replace(record, reason=note)
        self._emit(record)

    def _settle_lost(self, planned: Planned, lost: TraceLostError) -> None:
        record = self._judged(planned.scenario, lost.trace, lost.crash)
        if lost.hung and record.verdict is Verdict.BROKEN:
            record = replace(record, verdict=Verdict.TIMED_OUT)
        if not planned.recorded:
            self._emit(record)
        if lost.unkillable and self._place.risk is Risk.REAL:
            raise HostStuck(f"{record.id}: {record.reason}")

    def _judged(
        self, scenario: Scenario, trace: Trace, crash: Crash | None = None
    ) -> ScenarioRecord:
        assert self._judging is not None  # noqa: S101 - set by the first _driver()
        if any(LOST_RECORDS in step.kernel_log for step in trace.steps):
            self.blind_spots.append(f"{scenario.id}: {RECORDS_LOST}")
        if trace.blocks is not None:
            self._ledger.reached(scenario.id, trace.blocks)
        record = self._judging.record(scenario, trace, crash)
        if record.verdict is not Verdict.PASS:
            self._ledger.read(record.id, trace)
        return record

    def _emit(self, record: ScenarioRecord) -> None:
        self.remaining.pop(record.id, None)
        self._sink(record)
        self._progress.advance(self._total - len(self.remaining), self._total)

    def _crash_phase(self, driver: Driver) -> None:
        """Repeat gated scenarios without the gate, until one kills the host."""
        if self._hazardous is Hazardous.FIRST_OF_A_KIND:
            for leader, leading in self._crashed:
                self._skip_same_kind(leader, leading)
        while self._waiting:
            planned, record = self._waiting.pop(0)
            self._progress.stage(f"{self._place.target.description}: continue with {record.id}")
            if self._hazardous is Hazardous.FIRST_OF_A_KIND:
                self._skip_same_kind(planned, record)
            # The user has allowed this to kill the host.
            if not self._drain(driver, deque([planned]), gate=0):
                return
            self._check_deadline()

    def _skip_same_kind(self, leader: Planned, leading: ScenarioRecord) -> None:
        kind = _kind(leader, leading)
        others = self._waiting
        self._waiting = [(p, r) for p, r in others if _kind(p, r) != kind]
        for planned, record in others:
            if _kind(planned, record) == kind:
                self._emit(replace(record, reason=f"same as {leading.id}; stopped before the load"))

    def _check_deadline(self) -> None:
        if time.monotonic() > self._deadline:
            raise self._time_is_up()

    def _time_is_up(self) -> RunTimeout:
        left = len(self.remaining)
        return RunTimeout(f"time is up: {left} of {self._total} scenarios did not complete")


def _kind(planned: Planned, record: ScenarioRecord) -> tuple[str, str]:
    hazard = planned.hazard.names if planned.hazard else ""
    first = record.divergences[0].signature if record.divergences else ""
    return hazard, first
