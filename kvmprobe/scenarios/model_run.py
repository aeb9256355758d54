"""The model's steps for one host from a fresh process on, each computed once.

Scenarios begin alike; who judges many of them for the same host need not repeat their beginnings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import variants
from kvmprobe.model.machine import Machine

if TYPE_CHECKING:
    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import Step
    from kvmprobe.scenarios.ops import Op

_MOST = 2_000


class ModelRun:
    """Steps so far, by the state before and the op."""

    def __init__(self, host: HostProfile) -> None:
        self.host = host
        self.start = Machine.fresh(host)
        self._steps: dict[tuple[int, Op], Step] = {}

    def step(self, machine: Machine, op: Op) -> Step:
        """Return the model's step from ``start`` or from a state that an earlier step led to."""
        # LIFETIME: a state's id stays its own, for the step that led to it is kept.
        key = (id(machine), op)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = op.step(machine)
        return found

    def forget_if_long(self) -> None:
        """Drop the steps when they are many; to be called between scenarios."""
        if len(self._steps) > _MOST:
            self._steps.clear()


class ModelRuns:
    """A model run for each set of defects of a host's kernel, beside the host's own variants."""

    def __init__(self, host: HostProfile) -> None:
        self._host = replace(host, behaviours=variants(host.behaviours))
        self._model_runs: dict[Behaviours, ModelRun] = {}

    def with_defects(self, defects: Behaviours = frozenset()) -> ModelRun:
        """Return the run for the host with just these defects; call it once per scenario."""
        model_run = self._model_runs.get(defects)
        if model_run is None:
            behaviours = self._host.behaviours | defects
            model_run = self._model_runs[defects] = ModelRun(
                replace(self._host, behaviours=behaviours)
            )
        model_run.forget_if_long()
        return model_run
