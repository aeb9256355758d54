"""Plans which scenarios run at a place, the safest ones first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmprobe.checkers.companions import companions
from kvmprobe.execution.preflight import unmet
from kvmprobe.judge.verdicts import skipped
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.scenarios.hazard import Hazard, first_hazard
from kvmprobe.scenarios.scenario import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kvmprobe.execution.preflight import Preflight
    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.scenarios.model_run import ModelRuns
    from kvmprobe.scenarios.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Past:
    """Results of the run's earlier attempts.

    :ivar recorded: ids of the scenarios that have a record
    :ivar alone: ids that must run alone: this host crashed while they and others were running
    :ivar crashed: records of the scenarios that crashed this host at an expected fatal load
    :ivar lost: how often a scenario was running on a machine of a fleet that was lost
    """

    recorded: frozenset[str] = frozenset()
    alone: frozenset[str] = frozenset()
    crashed: tuple[ScenarioRecord, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)


NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class Planned:
    """A scenario, and the fatal load that the model predicts in it.

    :ivar alone: no other scenario may run at the same time
    :ivar recorded: it has a record; it runs again only so that others can be compared with it
    """

    scenario: Scenario
    hazard: Hazard | None
    alone: bool = False
    recorded: bool = False

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """Sort key: what is safe runs first."""
        return self.alone, self.hazard is not None, not self.recorded


@dataclass(frozen=True, slots=True)
class Plan:
    """The scenarios to run, in order.

    :ivar not_runnable: records of the scenarios that cannot run here
    :ivar crashed: scenarios of :attr:`Past.crashed` that this plan has, with their records
    """

    planned: list[Planned] = field(default_factory=list)
    not_runnable: list[ScenarioRecord] = field(default_factory=list)
    crashed: list[tuple[Planned, ScenarioRecord]] = field(default_factory=list)


def plan(
    listed: Sequence[Scenario],
    wanted: Callable[[str], bool],
    preflight: Preflight,
    target: Target,
    past: Past,
    model_runs: ModelRuns,
) -> Plan:
    """Plan those of the listed scenarios that are wanted and have no record yet.

    :param model_runs: of the profile in ``preflight``
    """
    made = Plan()
    missing = unmet(preflight)
    new = [s for s in listed if s.id not in past.recorded and wanted(s.id)]
    runnable = _runnable(new, preflight, target, made.not_runnable)

    def planned(scenario: Scenario) -> Planned:
        # The gate sees only what is read: what any known defect makes fatal is stopped.
        suspected = DEFECTS if scenario.derived else preflight.suspected
        hazard = first_hazard(scenario, model_runs, suspected)
        has_record = scenario.id in past.recorded
        return Planned(scenario, hazard, scenario.id in past.alone, has_record)

    recorded = {s.id: s for s in listed if s.id in past.recorded and not s.needs & missing.keys()}
    others = companions(runnable, list(recorded.values())) if runnable else []
    made.planned.extend(sorted(map(planned, [*others, *runnable]), key=lambda p: p.rank))
    crashed = [r for r in past.crashed if r.target == target and r.id in recorded]
    made.crashed.extend((planned(recorded[r.id]), r) for r in crashed)
    return made


def plan_as_given(listed: Sequence[Scenario], preflight: Preflight, target: Target) -> Plan:
    """Plan scenarios for a place where each may crash: in their order, whatever their hazards."""
    made = Plan()
    runnable = _runnable(listed, preflight, target, made.not_runnable)
    made.planned.extend(Planned(scenario, hazard=None) for scenario in runnable)
    return made


def _runnable(
    listed: Sequence[Scenario],
    preflight: Preflight,
    target: Target,
    not_runnable: list[ScenarioRecord],
) -> list[Scenario]:
    """Return those that can run at a place; the records of the others go to a list."""
    missing = unmet(preflight)
    runnable = []
    for scenario in listed:
        reasons = [missing[need] for need in Need if need in scenario.needs & missing.keys()]
        if reasons:
            not_runnable.append(skipped(scenario, target, *reasons[0]))
        else:
            runnable.append(scenario)
    return runnable
