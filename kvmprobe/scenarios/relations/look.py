"""Scenarios with one more read after each step: a read must change nothing.

They are compared with their base; nothing but that read, and what the base reads at the end, is
read in them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.derived import Aspect
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.op_fields import required
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.relations.derivation import Derivation, Rewritten
from kvmprobe.scenarios.relations.reads import blind_steps, capture, source
from kvmprobe.scenarios.scenario import ScenarioStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_READS = ("get-", "check-")


@lru_cache
def getters() -> dict[str, Op]:
    """Return an op for each call that reads, by name; without those that need values."""
    return {
        name.removeprefix("get-"): kind()
        for name, kind in registry().items()
        if name.startswith(_READS) and not required(kind)
    }


def _variants(base: Scenario) -> Iterator[str]:
    written_back = {source(step.op) for step in base.steps} - {""}
    for name, places in _places(base).items():
        # Its output would be written back instead of the one that the scenario keeps.
        if any(places) and capture(getters()[name]) not in written_back:
            yield name


def _rewrite(base: Scenario, variant: str) -> Rewritten:
    getter = getters()[variant]
    looks = _places(base)[variant]
    steps = (
        ScenarioStep(step.op, (getter, *step.observers)) if looked else step
        for step, looked in zip(blind_steps(base), looks, strict=True)
    )
    return Rewritten(tuple(steps), tuple(range(len(base.steps))), getter.needs)


@lru_cache(maxsize=4)
def _places(base: Scenario) -> dict[str, list[bool]]:
    """Return for each read after which steps it can be judged."""
    domain = Domain(sapphire_rapids())
    found: dict[str, list[bool]] = {name: [] for name in getters()}
    for step in blind_steps(base):
        domain.follow(step.op)
        for name, getter in getters().items():
            found[name].append(domain.meets(getter))
        for kept in step.observers:
            domain.follow(kept)
    return found


LOOK = Derivation(
    "look",
    "the read of that name after each step",
    Aspect.READS,
    r"look-[a-z0-9-]+",
    _variants,
    _rewrite,
)
