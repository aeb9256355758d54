"""Which scenarios can kill the host, by the model with the defects a kernel may have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour, Behaviours, Kind, variants
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import HostDies

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Hazard:
    """A guest-FPU load that faults in the host if the kernel has ``defects``.

    :ivar step: number, from 0, of the step that loads
    :ivar reason: what the load meets
    """

    step: int
    defects: Behaviours
    reason: str

    @property
    def names(self) -> str:
        """The defects by name."""
        return "+".join(sorted(d.name for d in self.defects))


def first_hazard(scenario: Scenario, host: HostProfile, suspected: Behaviours) -> Hazard | None:
    """Return the first fatal load that the fewest of the ``suspected`` defects suffice for."""
    defects = sorted((d for d in suspected if d.kind is Kind.DEFECT), key=lambda d: d.name)
    if _fatal_step(scenario, host, frozenset(defects)) is None:
        return None
    for count in range(len(defects) + 1):
        for chosen in combinations(defects, count):
            found = _fatal_step(scenario, host, frozenset(chosen))
            if found is not None:
                step, reason = found
                return Hazard(step, frozenset(chosen), reason)
    return None


def _fatal_step(
    scenario: Scenario, host: HostProfile, defects: frozenset[Behaviour]
) -> tuple[int, str] | None:
    machine = Machine.fresh(replace(host, behaviours=variants(host.behaviours) | defects))
    for number, op in scenario.ops():
        step = op.step(machine)
        if isinstance(step.outcome, HostDies):
            return number, step.outcome.reason
        machine = step.machine
    return None
