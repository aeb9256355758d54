"""From what a worker sent to a record: judged, written to the ledger, given to the sink."""

from __future__ import annotations

import time
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.abi.log_records import LOST_RECORDS, RECORDS_LOST
from kvmprobe.errors import HostStuck, RunTimeout
from kvmprobe.execution.driver import Request
from kvmprobe.execution.judging import Judging
from kvmprobe.execution.place import Risk
from kvmprobe.results.trace import End
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kvmprobe.execution.driver import TraceLostError
    from kvmprobe.execution.ledger import Ledger
    from kvmprobe.execution.place import Place
    from kvmprobe.execution.plan import Planned
    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import Crash, ScenarioRecord
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.scenario import Scenario


class Hazardous(Enum):
    """What to do with scenarios that can kill the host."""

    STOP = "stop after the read-back"
    FIRST_OF_A_KIND = "let the first of each kind crash, on a real host"
    EVERY = "let each crash"


class Settling:
    """Settles the scenarios of one run at one place.

    :ivar hazardous: what to do with scenarios that can kill the host
    :ivar remaining: ids of the planned scenarios that have no record yet
    :ivar blind_spots: what could not be observed here, and why
    """

    def __init__(
        self,
        place: Place,
        hazardous: Hazardous,
        sink: Callable[[ScenarioRecord], None],
        progress: Progress,
        deadline: float,
        ledger: Ledger,
    ) -> None:
        """Prepare a run.

        :param sink: receives each record, in the order of the plan
        :param deadline: monotonic time at which the run ends, seconds
        """
        self.hazardous = hazardous
        self.deadline = deadline
        self.remaining: dict[str, None] = {}
        self.blind_spots: list[str] = []
        self._place = place
        self._sink = sink
        self._progress = progress
        self._ledger = ledger
        self._judging: Judging | None = None
        self._total = 0

    def begin(self, host: HostProfile) -> None:
        """Take the profile of the place, once it has been probed."""
        self._judging = Judging(host, self._place.target)

    @property
    def judging(self) -> Judging:
        """What is known of the place's kernel so far, once it has been probed."""
        assert self._judging is not None  # noqa: S101 - the runner probes first
        return self._judging

    @property
    def crashes_allowed(self) -> bool:
        """True if scenarios may kill the host."""
        return self.hazardous is not Hazardous.STOP

    def expect(self, planned: Iterable[Planned]) -> None:
        """Take these scenarios as those that are to get a record."""
        self.remaining = dict.fromkeys(p.scenario.id for p in planned if not p.recorded)
        self._total = len(self.remaining)

    def request(self, planned: Planned, gate: int) -> Request:
        """Return what a worker should run: up to the fatal load unless crashes are allowed."""
        if planned.hazard is None or self.crashes_allowed:
            return Request(planned.scenario, gate)
        return Request(planned.scenario.upto(planned.hazard.step), gate)

    def completed(self, planned: Planned, trace: Trace) -> None:
        """Settle a scenario that ran to its end, or was stopped before a fatal load."""
        record = self.judged(planned.scenario, trace)
        if planned.recorded:
            return
        cut_short = planned.hazard is not None and len(trace.steps) == planned.hazard.step
        if trace.end is End.GATED or (cut_short and not self.crashes_allowed):
            note = "stopped before a guest-FPU load that can panic this host; --hazardous makes it"
            record = replace(record, reason=note)
        self.emit(record)

    def lost(self, planned: Planned, lost: TraceLostError) -> None:
        """Settle a scenario that ended its worker.

        :raises HostStuck: a task of it cannot be killed, on a real host
        """
        record = self.judged(planned.scenario, lost.trace, lost.crash)
        if lost.hung and record.verdict is Verdict.BROKEN:
            record = replace(record, verdict=Verdict.TIMED_OUT)
        if not planned.recorded:
            self.emit(record)
        if lost.unkillable and self._place.risk is Risk.REAL:
            raise HostStuck(f"{record.id}: {record.reason}")

    def judged(
        self, scenario: Scenario, trace: Trace, crash: Crash | None = None
    ) -> ScenarioRecord:
        """Judge a trace; what a reader of a failure needs goes to the ledger."""
        if any(LOST_RECORDS in step.kernel_log for step in trace.steps):
            self.blind_spots.append(f"{scenario.id}: {RECORDS_LOST}")
        if trace.blocks is not None:
            self._ledger.reached(scenario.id, trace.blocks)
        record = self.judging.record(scenario, trace, crash)
        passed = record.verdict is Verdict.PASS
        (self._ledger.passed if passed else self._ledger.read)(record.id, trace)
        return record

    def emit(self, record: ScenarioRecord) -> None:
        """Give a record to the sink."""
        self.remaining.pop(record.id, None)
        self._sink(record)
        self._progress.advance(self._total - len(self.remaining), self._total)

    def check_deadline(self) -> None:
        """End the run if its time is up.

        :raises RunTimeout: it is
        """
        if time.monotonic() > self.deadline:
            raise self.time_is_up()

    def time_is_up(self) -> RunTimeout:
        """Return the error that ends the run."""
        left = len(self.remaining)
        return RunTimeout(f"time is up: {left} of {self._total} scenarios did not complete")
