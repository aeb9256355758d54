"""A scenario as a list of ops, from which some can be left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.need import needs_of
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op


@dataclass(frozen=True, slots=True)
class Part:
    """An op of a scenario; ``observes`` if it is one of a step's observers."""

    op: Op
    observes: bool = False


Parts = tuple[Part, ...]


def parts_of(scenario: Scenario) -> Parts:
    """Return the ops in order."""
    return tuple(
        Part(op, place > 0) for step in scenario.steps for place, op in enumerate(step.ops)
    )


def judgeable_of(parts: Iterable[Part], host: HostProfile) -> Parts:
    """Return the parts without those that the model cannot judge after the ones before them."""
    domain = Domain(host)
    kept = []
    for part in parts:
        try:
            domain.follow(part.op)
        except ScenarioError:
            continue
        kept.append(part)
    return tuple(kept)


def with_parts(scenario: Scenario, parts: Parts) -> Scenario:
    """Return the scenario with these ops instead of its own.

    An observer whose step has gone is one of the step before it.
    """
    steps: list[ScenarioStep] = []
    for part in parts:
        if part.observes and steps:
            last = steps[-1]
            steps[-1] = ScenarioStep(last.op, (*last.observers, part.op))
        else:
            steps.append(ScenarioStep(part.op))
    own = needs_of(op for _, op in scenario.ops())
    needed = needs_of(part.op for part in parts)
    return replace(scenario, steps=tuple(steps), needs=scenario.needs - own | needed)
