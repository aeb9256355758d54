"""Which scenarios can kill the host, according to the model with defects of a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Kind
from kvmprobe.model.outcome import HostDies

if TYPE_CHECKING:
    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.scenarios.model_run import ModelRun, ModelRuns
    from kvmprobe.scenarios.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Hazard:
    """A guest-FPU load that faults in the host if the kernel has ``defects``.

    :ivar step: number of the step that loads, from 0
    :ivar reason: why the load faults
    """

    step: int
    defects: Behaviours
    reason: str

    @property
    def names(self) -> str:
        """The defects by name."""
        return "+".join(sorted(d.name for d in self.defects))


def first_hazard(scenario: Scenario, model_runs: ModelRuns, suspected: Behaviours) -> Hazard | None:
    """Return the first fatal load that takes the fewest of the ``suspected`` defects."""
    defects = sorted((d for d in suspected if d.kind is Kind.DEFECT), key=lambda d: d.name)
    if fatal_step(scenario, model_runs.with_defects(frozenset(defects))) is None:
        return None
    for count in range(len(defects) + 1):
        for chosen in combinations(defects, count):
            found = fatal_step(scenario, model_runs.with_defects(frozenset(chosen)))
            if found is not None:
                step, reason = found
                return Hazard(step, frozenset(chosen), reason)
    return None


def fatal_step(scenario: Scenario, model_run: ModelRun) -> tuple[int, str] | None:
    """Return the number, from 0, of the step that kills the run's host, and the reason."""
    walk = zip(scenario.ops(), model_run.walk(scenario), strict=False)
    for (number, _), known in walk:
        outcome = known.step.outcome
        if isinstance(outcome, HostDies):
            return number, outcome.reason
    return None
