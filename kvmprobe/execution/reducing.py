"""Reduces what a search has found, on the place where it was found."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from kvmprobe.execution.witness import still_shown
from kvmprobe.search.parts import Part, judgeable_of, parts_of, with_parts
from kvmprobe.search.shrink import Budget, Shrinker

if TYPE_CHECKING:
    from kvmprobe.execution.witness import Shown, Witness
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario
    from kvmprobe.search.signature import Signature

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
    """Reduces one failing scenario; its best is there also after an interruption."""

    def __init__(
        self,
        scenario: Scenario,
        signature: Signature,
        witness: Witness,
        budget: Budget,
        progress: Progress,
    ) -> None:
        """Prepare it.

        :param witness: shows whether a scenario fails with the signature
        """
        self._original = scenario
        self._signature = signature
        self._witness = witness
        self._began = time.monotonic()
        self._budget = budget
        self._stays = partial(still_shown, witness, signature)
        self._shrinker = Shrinker(
            scenario, witness.host, self._stays, budget=budget, progress=progress
        )

    def run(self) -> Reduced:
        """Reduce it; a scenario that does not fail again is left as it is."""
        if not self._stays([self._original])[0]:
            named = self._named(self._original)
            return Reduced(named, reproduces=False, trials=1, seconds=self._seconds)
        small = self._named(self._shrinker.run())
        seconds, complete = self._seconds, self._seconds < self._budget.seconds
        (shown,) = self._witness.shown([small])
        record, trace = shown.get(self._signature, (None, None))
        contributions = self._contributions(small) if record else ()
        trials, reproduces = self._shrinker.trials, record is not None
        return Reduced(small, reproduces, record, trace, contributions, trials, seconds, complete)

    def so_far(self) -> Reduced:
        """Return the smallest scenario so far, without trying it again."""
        trials, seconds = self._shrinker.trials, self._seconds
        small = self._named(self._shrinker.best)
        return Reduced(small, reproduces=True, trials=trials, seconds=seconds, complete=False)

    def _named(self, scenario: Scenario) -> Scenario:
        return replace(scenario, id=f"{self._original.id}.{_SUFFIX}")

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _contributions(self, scenario: Scenario) -> tuple[Contribution, ...]:
        parts = parts_of(scenario)
        host = self._witness.host
        without = [judgeable_of((*parts[:nr], *parts[nr + 1 :]), host) for nr in range(len(parts))]
        tried = [left for left in without if left]
        found = iter(self._witness.shown([with_parts(scenario, left) for left in tried]))
        return tuple(
            self._contribution(part, len(parts) - 1 - len(left), next(found) if left else None)
            for part, left in zip(parts, without, strict=True)
        )

    def _contribution(self, part: Part, others: int, shown: Shown | None) -> Contribution:
        return Contribution(part.op, others, tuple(shown or ()), shown is not None)
