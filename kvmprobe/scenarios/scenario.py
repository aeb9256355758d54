"""A scenario: a named sequence of steps, each an op and the observers after it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.abi.executor import Competition, HostRegisters, Placement
from kvmprobe.scenarios.need import AMX, ANYWHERE, NESTED_VMX, Need, Needs
from kvmprobe.scenarios.scenario_id import family_of

__all__ = ["AMX", "ANYWHERE", "NESTED_VMX", "Need", "Needs", "Scenario", "ScenarioStep"]

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.scenarios.derived import Derived
    from kvmprobe.scenarios.ops import Op


@dataclass(frozen=True, slots=True)
class ScenarioStep:
    """One op, and the ops that read state after it."""

    op: Op
    observers: tuple[Op, ...] = ()

    @property
    def ops(self) -> tuple[Op, ...]:
        """All of them, in order."""
        return (self.op, *self.observers)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Steps that run in one fresh process.

    :ivar id: stable and dotted; ``[A-Za-z0-9_-]`` between the dots
    :ivar row: its row in the report's table (the order)
    :ivar column: its column in the table (the variant)
    :ivar needs: what a target must have to run it
    :ivar derived: the scenario that it was derived from; None for one of the catalogue
    :ivar registers: what the calling thread's FPU registers have during its calls
    :ivar competition: which task competes with its process for the CPU
    :ivar placement: on which CPU its tasks make their calls
    """

    id: str
    row: str
    column: str
    steps: tuple[ScenarioStep, ...]
    needs: Needs = ANYWHERE
    derived: Derived | None = None
    registers: HostRegisters = HostRegisters.AS_THEY_ARE
    competition: Competition = Competition.NOTHING_COMPETES
    placement: Placement = Placement.STAYS

    @property
    def needs_amx(self) -> bool:
        """True if it needs a KVM that can give guests XTILE_DATA."""
        return Need.AMX in self.needs

    @property
    def family(self) -> str:
        """The first part of the id."""
        return family_of(self.id)

    def ops(self) -> Iterator[tuple[int, Op]]:
        """Yield (step number from 0, op) in the order they are issued."""
        for number, step in enumerate(self.steps):
            for op in step.ops:
                yield number, op

    def next_step(self, step_count: int) -> tuple[int, Op | None]:
        """Return number and op of the step after the first ones, or of the last step.

        A scenario without steps has no op.
        """
        number = max(min(step_count, len(self.steps) - 1), 0)
        return number, self.steps[number].op if self.steps else None

    def upto(self, step_count: int) -> Scenario:
        """Return the scenario with only its first steps."""
        return replace(self, steps=self.steps[:step_count])
