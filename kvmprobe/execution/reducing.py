"""Reduces what a search has found, on the place where it was found."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.search.parts import Part, judgeable_of, parts_of, with_parts
from kvmprobe.search.shrink import Budget, Shrinker
from kvmprobe.search.signature import Explained, Signature, signatures_of

if TYPE_CHECKING:
    from kvmprobe.execution.trials import Trials
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_SUFFIX = "reduced"


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a reduced scenario does without one of its ops.

    :ivar others: how many later ops go with it, since they depend on it
    :ivar comes: signatures of what fails then; empty if nothing does
    :ivar left: False if nothing would be left
    """

    op: Op
    others: int
    comes: tuple[Signature, ...]
    left: bool = True


@dataclass(frozen=True, slots=True)
class Reduced:
    """A reduced scenario.

    :ivar reproduces: it failed again
    :ivar record: of the scenario, or of its derived one that fails; None if there is none
    :ivar trace: outputs of that
    :ivar contributions: one for each op; empty if the budget was spent before
    :ivar complete: nothing can be left out or be simpler
    """

    scenario: Scenario
    reproduces: bool
    record: ScenarioRecord | None = None
    trace: Trace | None = None
    contributions: tuple[Contribution, ...] = ()
    trials: int = 0
    seconds: float = 0.0
    complete: bool = True


class Reducing:
    """Reduces one failing scenario; its best is there also after an interruption.

    :ivar shrinker: has the smallest scenario so far
    """

    def __init__(
        self,
        scenario: Scenario,
        signature: Signature,
        explained: Explained,
        trials: Trials,
        budget: Budget,
        progress: Progress,
    ) -> None:
        self._signature = signature
        self._explained = explained
        self._trials = trials
        self._began = time.monotonic()
        self._budget = budget
        self._original = scenario
        stays = trials.stays(self._fails)
        self.shrinker = Shrinker(scenario, trials.host, stays, budget=budget, progress=progress)

    def run(self) -> Reduced:
        """Reduce it; a scenario that does not fail again is left as it is."""
        if not self._again(self._original):
            named = self._named(self._original)
            return Reduced(named, reproduces=False, trials=1, seconds=self._seconds)
        small = self._named(self.shrinker.run())
        seconds, complete = self._seconds, self._seconds < self._budget.seconds
        record, trace = self._again(small) or (None, None)
        contributions = self._contributions(small) if record else ()
        trials, reproduces = self.shrinker.trials, record is not None
        return Reduced(small, reproduces, record, trace, contributions, trials, seconds, complete)

    def so_far(self) -> Reduced:
        """Return the smallest scenario so far, without trying it again."""
        trials, seconds = self.shrinker.trials, self._seconds
        small = self._named(self.shrinker.best)
        return Reduced(small, reproduces=True, trials=trials, seconds=seconds, complete=False)

    def _named(self, scenario: Scenario) -> Scenario:
        return replace(scenario, id=f"{self._original.id}.{_SUFFIX}")

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _fails(self, record: ScenarioRecord) -> bool:
        return self._signature in signatures_of(record, self._explained)

    def _again(self, scenario: Scenario) -> tuple[ScenarioRecord, Trace | None] | None:
        (records,) = self._trials.records([scenario])
        failing = next(filter(self._fails, records), None)
        return (failing, self._trials.traces.get(failing.id)) if failing else None

    def _contributions(self, scenario: Scenario) -> tuple[Contribution, ...]:
        parts = parts_of(scenario)
        host = self._trials.host
        without = [judgeable_of((*parts[:nr], *parts[nr + 1 :]), host) for nr in range(len(parts))]
        tried = [left for left in without if left]
        found = iter(self._trials.records([with_parts(scenario, left) for left in tried]))
        return tuple(
            self._contribution(part, len(parts) - 1 - len(left), next(found) if left else None)
            for part, left in zip(parts, without, strict=True)
        )

    def _contribution(
        self, part: Part, others: int, records: tuple[ScenarioRecord, ...] | None
    ) -> Contribution:
        comes = [s for r in records or () for s in signatures_of(r, self._explained)]
        return Contribution(part.op, others, tuple(dict.fromkeys(comes)), records is not None)
