"""Scenarios whose calls are each made on another CPU than the one before, with the same steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.executor import Placement
from kvmprobe.scenarios.derived import Aspect
from kvmprobe.scenarios.need import TWO_CPUS
from kvmprobe.scenarios.relations.derivation import Derivation, Rewritten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.scenarios.scenario import Scenario


def _variants(_: Scenario) -> Iterator[str]:
    yield ""


def _rewrite(base: Scenario, _: str) -> Rewritten:
    places = tuple(range(len(base.steps)))
    return Rewritten(base.steps, places, TWO_CPUS, placement=Placement.MOVES)


MOVED_CPU = Derivation(
    "moved-cpu",
    "each call on another CPU than the one before",
    Aspect.CPU,
    "moved-cpu",
    _variants,
    _rewrite,
)
