"""Runs one scenario at a place, after probing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import ExitCode, KvmprobeError, Unavailable
from kvmprobe.execution.driver import Driver, Request
from kvmprobe.execution.link import LinkLostError
from kvmprobe.execution.place import Risk
from kvmprobe.execution.preflight import unmet
from kvmprobe.execution.probing import examine
from kvmprobe.judge.lockstep import agrees, examined
from kvmprobe.results.trace import End
from kvmprobe.scenarios.model_run import ModelRun, ModelRuns

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.execution.place import Place
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.results.record import Divergence
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.scenario import Scenario


class Unexpected(KvmprobeError):
    """The scenario did not end, so that nothing can be said of the guest."""

    exit_code = ExitCode.DIVERGED


@dataclass(frozen=True, slots=True)
class Ran:
    """A scenario that ran to its end.

    :ivar host: as it was probed, with the defects of its kernel
    :ivar machine: the model's, after the last step
    :ivar agrees: the kernel did what the model expects of it, its known defects included
    :ivar divergences: from a correct kernel
    """

    scenario: Scenario
    trace: Trace
    host: HostProfile
    brand: str
    machine: Machine
    agrees: bool
    divergences: tuple[Divergence, ...]


def run_one(place: Place, scenario_for: Callable[[HostProfile], Scenario]) -> Ran:
    """Probe a place, and run there what is made for its host.

    :param scenario_for: may refuse the host, before anything runs
    :raises Unavailable: KVM cannot be used, or the host lacks what the scenario needs
    :raises Unexpected: the scenario did not end, or the host did not survive it
    """
    with place.open() as link:
        driver = Driver(link, place.timing)
        preflight = examine(driver)
        scenario = scenario_for(preflight.profile)
        for need, (code, reason) in unmet(preflight).items():
            if need in scenario.needs:
                raise Unavailable(code, f"{scenario.id} needs {need.value}: {reason}")
        gate = 0 if place.risk is Risk.EXPENDABLE else 1
        try:
            [(_, trace)] = driver.traces([Request(scenario, gate)], preflight.profile)
        except LinkLostError as lost:
            raise Unexpected(f"{scenario.id} on {place.target.description}: {lost}") from lost
    if trace.end is not End.DONE:
        why = trace.end_note or "stopped before a load of guest state that would panic this host"
        raise Unexpected(f"{scenario.id} on {place.target.description}: {why}")
    return _ran(scenario, trace, preflight.profile, preflight.facts["cpu"]["brand"])


def _ran(scenario: Scenario, trace: Trace, host: HostProfile, brand: str) -> Ran:
    last = ModelRun(host).walked(scenario)[-1].step.machine
    found, _ = examined(scenario, ModelRuns(host), trace)
    return Ran(scenario, trace, host, brand, last, agrees(scenario, host, trace), found)
