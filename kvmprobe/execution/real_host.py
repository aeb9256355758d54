"""Runs scenarios on a real host, one at a time: its kernel log and taint belong to all of them.

The gate in the worker stops a scenario before a guest-FPU load that is fatal by the last read-back,
and there it ends.  If the user allows crashes, gated scenarios are then repeated without the gate,
with at most one crash for each boot; of those with the same hazard and the same divergence only the
first is repeated, unless the user asked for every crash.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from kvmprobe.execution.driver import TraceLostError
from kvmprobe.execution.settling import Hazardous
from kvmprobe.results.trace import End

if TYPE_CHECKING:
    from kvmprobe.execution.driver import Driver
    from kvmprobe.execution.ledger import Ledger
    from kvmprobe.execution.plan import Plan, Planned
    from kvmprobe.execution.settling import Settling
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.trace import Trace

# Scenarios in flight at once, between two writes of the journal to the disk: after a panic each of
# them is a suspect.
_BATCH = 32


class RealHost:
    """The scenarios of one run on a real host."""

    def __init__(
        self, plan: Plan, settling: Settling, ledger: Ledger, progress: Progress, name: str
    ) -> None:
        """Prepare a run.

        :param name: the host's, for people
        """
        self._planned = deque(plan.planned)
        self._crashed = plan.crashed
        self._settling = settling
        self._ledger = ledger
        self._progress = progress
        self._name = name
        self._waiting: list[tuple[Planned, ScenarioRecord]] = []

    @property
    def is_done(self) -> bool:
        """True if nothing is left to run."""
        return not self._planned and not self._waiting

    def run_on(self, driver: Driver) -> None:
        """Run what is left, until it is done or the worker is lost.

        :raises RunTimeout, HostStuck: see :class:`Settling`
        """
        if self._drain(driver, self._planned, gate=1):
            self._crash_phase(driver)

    def _drain(self, driver: Driver, planned: deque[Planned], gate: int) -> bool:
        """Run all planned scenarios in order; return False if the link is lost on the way."""
        settling = self._settling
        while planned:
            batch = _batch(planned)
            if gate:
                self._ledger.intend([p.scenario.id for p in batch])
            else:
                self._ledger.intend_fatal(batch[0].scenario.id)
            requests = [settling.request(p, gate) for p in batch]
            try:
                self._progress.now(planned[0].scenario.id)
                for _, trace in driver.traces(requests, settling.judging.host):
                    self._settle(planned[0], trace)
                    planned.popleft()
                    if planned:
                        self._progress.now(planned[0].scenario.id)
                    settling.check_deadline()
            except TraceLostError as lost:
                settling.lost(planned.popleft(), lost)
                return False
        return True

    def _settle(self, planned: Planned, trace: Trace) -> None:
        gated = trace.end is End.GATED and not planned.recorded
        if not gated or not self._settling.crashes_allowed:
            self._settling.completed(planned, trace)
            return
        record = self._settling.judged(planned.scenario, trace)
        _, load = planned.scenario.next_step(len(trace.steps))
        self._ledger.gated(record, load)
        self._waiting.append((planned, record))

    def _crash_phase(self, driver: Driver) -> None:
        """Repeat gated scenarios without the gate, until one kills the host."""
        only_first = self._settling.hazardous is Hazardous.FIRST_OF_A_KIND
        if only_first:
            for leader, leading in self._crashed:
                self._skip_same_kind(leader, leading)
        while self._waiting:
            planned, record = self._waiting.pop(0)
            self._progress.stage(f"{self._name}: continue with {record.id}")
            if only_first:
                self._skip_same_kind(planned, record)
            # The user has allowed this to kill the host.
            if not self._drain(driver, deque([planned]), gate=0):
                return
            self._settling.check_deadline()

    def _skip_same_kind(self, leader: Planned, leading: ScenarioRecord) -> None:
        kind = _kind(leader, leading)
        others = self._waiting
        self._waiting = [(p, r) for p, r in others if _kind(p, r) != kind]
        for planned, record in others:
            if _kind(planned, record) == kind:
                note = f"same as {leading.id}; stopped before the load"
                self._settling.emit(replace(record, reason=note))


def _batch(planned: deque[Planned]) -> list[Planned]:
    """Return the next scenarios to be in flight at once."""
    first = list(islice(planned, _BATCH))
    together = list(takewhile(lambda p: not p.alone, first))
    return together or first[:1]


def _kind(planned: Planned, record: ScenarioRecord) -> tuple[str, str]:
    hazard = planned.hazard.names if planned.hazard else ""
    first = record.divergences[0].signature if record.divergences else ""
    return hazard, first
