"""Scenarios with fewer reads: what is not looked at must come out the same.

A read has side effects in the kernel: it loads, refreshes and normalises what it returns.  A read
whose output a later step writes back is a part of the scenario, and stays.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.calls import Captured, Output
from kvmprobe.scenarios.derived import Aspect
from kvmprobe.scenarios.relations.derivation import Derivation, Rewritten
from kvmprobe.scenarios.scenario import ScenarioStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario


def _observed(base: Scenario) -> list[int]:
    """Return the numbers of the steps after which something is read."""
    return [number for number, step in enumerate(base.steps) if step.observers]


def _blind_variants(base: Scenario) -> Iterator[str]:
    if len(_observed(base)) > 1 and _blind(base, "").steps != base.steps:
        yield ""


def _unread_variants(base: Scenario) -> Iterator[str]:
    if _unread(base, "").steps != base.steps:
        yield ""


def blind_steps(base: Scenario) -> tuple[ScenarioStep, ...]:
    """Return the steps with reads after the last one that has some, and no others."""
    return _without(base, max(_observed(base), default=0)).steps


def _blind(base: Scenario, _: str) -> Rewritten:
    return _without(base, _observed(base)[-1])


def _unread(base: Scenario, _: str) -> Rewritten:
    return _without(base, len(base.steps))


def _without(base: Scenario, first: int) -> Rewritten:
    """Return the steps without the reads after those before the ``first`` one."""
    written_back: set[str] = set()
    steps: list[ScenarioStep] = []
    for number in reversed(range(len(base.steps))):
        step = base.steps[number]
        kept = step.observers
        if number < first:
            kept = tuple(op for op in kept if capture(op) in written_back)
        steps.append(step if kept == step.observers else ScenarioStep(step.op, kept))
        written_back.add(source(step.op))
        written_back.discard("")
    return Rewritten(tuple(reversed(steps)), tuple(range(len(steps))))


@cache
def capture(op: Op) -> str:
    """Return the name under which the op's output is kept for later calls; empty if it is not."""
    argument = getattr(op.lower(sapphire_rapids()), "argument", None)
    return argument.capture if isinstance(argument, Output) else ""


@cache
def source(op: Op) -> str:
    """Return the name of the output that the op writes back; empty if there is none."""
    argument = getattr(op.lower(sapphire_rapids()), "argument", None)
    return argument.name if isinstance(argument, Captured) else ""


BLIND = Derivation(
    "blind", "reads after the last step alone", Aspect.READS, "blind", _blind_variants, _blind
)
UNREAD = Derivation("unread", "no reads", Aspect.READS, "unread", _unread_variants, _unread)
