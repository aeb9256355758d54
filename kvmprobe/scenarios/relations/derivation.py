"""A derivation: how scenarios are made from another one, such that it and they must agree."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.abi.executor import Competition, HostRegisters, Placement
from kvmprobe.scenarios.derived import Derived

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmprobe.scenarios.derived import Aspect
    from kvmprobe.scenarios.need import Needs
    from kvmprobe.scenarios.scenario import Scenario, ScenarioStep


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The steps of a derived scenario.

    :ivar places: for each step of the base, the number of the same step here
    :ivar needs: what a target must have beyond what the base needs
    :ivar registers: what the calling thread's FPU registers have during its calls
    :ivar competition: which task competes with the scenario's process for the CPU
    :ivar placement: on which CPU its tasks make their calls
    """

    steps: tuple[ScenarioStep, ...]
    places: tuple[int, ...]
    needs: Needs = frozenset()
    registers: HostRegisters = HostRegisters.AS_THEY_ARE
    competition: Competition = Competition.NOTHING_COMPETES
    placement: Placement = Placement.STAYS


@dataclass(frozen=True, slots=True)
class Derivation:
    """One way to derive scenarios.

    :ivar name: of the way; a derived id ends with it, or with it, ``-`` and the variant
    :ivar summary: for ``--help``
    :ivar form: what a suffix is, as a regular expression
    :ivar variants: yields the variants that a scenario has; an empty one has no part in the id
    :ivar rewrite: returns the steps of a variant
    """

    name: str
    summary: str
    aspect: Aspect
    form: str
    variants: Callable[[Scenario], Iterator[str]]
    rewrite: Callable[[Scenario, str], Rewritten]

    def makes(self, suffix: str) -> bool:
        """Return True if ids of this derivation can end with this part."""
        return re.fullmatch(self.form, suffix) is not None

    def suffixes(self, base: Scenario) -> Iterator[str]:
        """Yield the last parts of the ids of what can be derived from a scenario."""
        for variant in self.variants(base):
            yield f"{self.name}-{variant}" if variant else self.name

    def scenario(self, base: Scenario, suffix: str) -> Scenario:
        """Return the derived scenario whose id ends with this part."""
        variant = suffix.removeprefix(self.name).removeprefix("-")
        made = self.rewrite(base, variant)
        return replace(
            base,
            id=f"{base.id}.{suffix}",
            column=f"{base.column}.{suffix}" if base.column else suffix,
            steps=made.steps,
            needs=base.needs | made.needs,
            derived=Derived(base.id, self.aspect, made.places),
            registers=made.registers,
            competition=made.competition,
            placement=made.placement,
        )
