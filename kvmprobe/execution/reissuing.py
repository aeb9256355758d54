"""Issues the calls of a recording at a place: one scenario whose steps are those calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.errors import ModelBug
from kvmprobe.execution.driver import Driver, Request, TraceLostError
from kvmprobe.execution.place import Timed
from kvmprobe.execution.runner import Runner
from kvmprobe.execution.settling import Hazardous
from kvmprobe.judge.oops import oops_of
from kvmprobe.scenarios.ops._base import FixedOp
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.execution.place import Place
    from kvmprobe.execution.preflight import Preflight
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import Crash
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.calls import Call

# A recording has more calls than a scenario; the deadline of each is a scenario's.
_SCENARIOS = 10


@dataclass(frozen=True, slots=True)
class _AsRecorded(FixedOp):
    """A call as it was recorded; ``vmm.follow`` has the model of it."""

    issued: Call

    def call(self) -> Call:
        return self.issued

    def transition(self, machine: Machine) -> Step:  # noqa: ARG002
        raise ModelBug("vmm.follow has the model of a recorded call")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the kernel answered.

    :ivar trace: a step for each call
    :ivar crash: of the host, in the call after the last step; or an oops
    """

    trace: Trace
    crash: Crash | None = None


class Reissuing:
    """Probes a place and issues calls there.

    :ivar preflight: what the probes found
    """

    def __init__(self, place: Place, progress: Progress) -> None:
        """Probe the place.

        :raises Unavailable: KVM is not usable there
        :raises BootFailed: the kernel died or hung before
        """
        self._place, self._progress = place, progress
        runner = Runner(place, Hazardous.STOP, lambda _: None, progress)
        self.preflight: Preflight = runner.examined()

    def answers(self, calls: Sequence[Call], gate: int) -> Answers:
        """Issue calls, each in a step of its own.

        :param gate: 1 to stop before a guest-FPU load that is fatal by the last read-back, else 0
        """
        timing = self._place.timing
        place = Timed(
            self._place, replace(timing, scenario=_SCENARIOS * timing.scenario, step=timing.of_step)
        )
        self._progress.stage(f"{place.target.description}: replay")
        steps = tuple(ScenarioStep(_AsRecorded(call)) for call in calls)
        scenario = Scenario("replay", "", "", steps)
        with place.open() as link:
            driver = Driver(link, place.timing)
            try:
                requests = [Request(scenario, gate)]
                [(_, trace)] = driver.traces(requests, self.preflight.profile)
            except TraceLostError as lost:
                return Answers(lost.trace, lost.crash)
        return Answers(trace, oops_of(trace))
