"""What a run will do at a place, and in which order: what is safest first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmprobe.checkers.companions import companions
from kvmprobe.execution.preflight import unmet
from kvmprobe.judge.verdicts import skipped
from kvmprobe.scenarios.hazard import Hazard, first_hazard
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.scenarios.scenario import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmprobe.execution.preflight import Preflight
    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.scenarios.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier attempts at the run left.

    :ivar recorded: ids that have a record
    :ivar alone: ids during which, with others open, this host went down
    :ivar crashed: records of the scenarios that took this host with them at a foreseen load
    """

    recorded: frozenset[str] = frozenset()
    alone: frozenset[str] = frozenset()
    crashed: tuple[ScenarioRecord, ...] = ()


NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class Planned:
    """A scenario, and the fatal load that the model sees in it.

    :ivar alone: nothing else may be open while it runs
    :ivar recorded: it has a record, and runs again for others to be compared with
    """

    scenario: Scenario
    hazard: Hazard | None
    alone: bool = False
    recorded: bool = False

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """Its place in the order."""
        return self.alone, self.hazard is not None, not self.recorded


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, in order; what cannot run here; and who crashed before, as it was planned."""

    planned: list[Planned] = field(default_factory=list)
    not_runnable: list[ScenarioRecord] = field(default_factory=list)
    crashed: list[tuple[Planned, ScenarioRecord]] = field(default_factory=list)


def plan(
    listed: Sequence[Scenario],
    wanted: Callable[[str], bool],
    preflight: Preflight,
    target: Target,
    past: Past,
) -> Plan:
    """Plan the wanted ones of the listed scenarios, but those that have a record."""
    made = Plan()
    lacking = unmet(preflight)
    fit: list[Scenario] = []
    for scenario in listed:
        if scenario.id in past.recorded or not wanted(scenario.id):
            continue
        reasons = [lacking[need] for need in Need if need in scenario.needs & lacking.keys()]
        if reasons:
            made.not_runnable.append(skipped(scenario, target, *reasons[0]))
        else:
            fit.append(scenario)

    model_runs = ModelRuns(preflight.profile)

    def planned(scenario: Scenario) -> Planned:
        hazard = first_hazard(scenario, model_runs, preflight.suspected)
        again = scenario.id in past.recorded
        return Planned(scenario, hazard, scenario.id in past.alone, again)

    recorded = {s.id: s for s in listed if s.id in past.recorded and not s.needs & lacking.keys()}
    others = companions(fit, list(recorded.values())) if fit else []
    made.planned.extend(sorted(map(planned, [*others, *fit]), key=lambda p: p.rank))
    crashed = [r for r in past.crashed if r.target == target and r.id in recorded]
    made.crashed.extend((planned(recorded[r.id]), r) for r in crashed)
    return made
