"""Reduces a scenario for as long as it still fails as it did.

First ops are left out, in large parts and then one by one; the rest become plainer calls with
simpler values, in the usual order.  Trials are made in batches, since a target can run several
scenarios at once.  What helps is then tried together.  Each trial is within the model's domain:
with an op go those that depend on it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.progress import Silent
from kvmprobe.search.parts import Part, Parts, judgeable_of, parts_of, with_parts
from kvmprobe.search.plainer import plainer_ops, usual_place
from kvmprobe.search.simpler import simpler_ops, simplest_ops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

    Stays = Callable[[Sequence[Scenario]], Sequence[bool]]

# Trials between two looks at the budget.
_BATCH = 16


@dataclass(frozen=True, slots=True)
class Budget:
    """What reducing one scenario may cost: a number of trials, and seconds."""

    trials: int = 2000
    seconds: float = 60.0


class _Change(NamedTuple):
    """A part with another op; None leaves it out."""

    place: int
    op: Part | None


Changes = Sequence[_Change]


class Shrinker:
    """Reduces one scenario.

    :ivar best: the smallest scenario so far that still fails, also after an interruption
    :ivar trials: number of scenarios that were tried
    """

    def __init__(
        self,
        scenario: Scenario,
        host: HostProfile,
        stays: Stays,
        *,
        budget: Budget = Budget(),
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare it.

        :param stays: tells for each of some scenarios whether it fails as this one does
        :param clock: returns seconds
        """
        self.best = scenario
        self.trials = 0
        self._host = host
        self._stays = stays
        self._budget = budget
        self._progress = progress or Silent()
        self._clock = clock
        self._end = clock() + budget.seconds
        self._parts = parts_of(scenario)
        self._known: dict[Parts, bool] = {self._parts: True}

    def run(self) -> Scenario:
        """Return the scenario when nothing can be left out or be simpler, or the budget is spent.

        Any exception of ``stays`` passes through; ``best`` is then what had been reached.
        """
        before: Parts = ()
        while self._parts != before and not self._is_spent(0):
            before = self._parts
            self._leave_out()
            for choices in (plainer_ops, simplest_ops, simpler_ops):
                self._simplify(choices)
            self._reorder()
        return self.best

    def _leave_out(self) -> None:
        size, count = len(self._parts), 0
        while size > 1 or len(self._parts) != count:
            count = len(self._parts)
            size = max(min(size, count) // 2, 1)
            chunks = [range(start, min(start + size, count)) for start in range(0, count, size)]
            self._together(self._helpful([[_Change(place, None) for place in c] for c in chunks]))

    def _simplify(self, choices: Callable[[Op], Iterator[Op]]) -> None:
        """Make ops simpler; of what is possible in one part, the first choice that helps."""
        before: Parts = ()
        while self._parts != before:
            before = self._parts
            wanted = [
                [_Change(place, Part(op, part.observes))]
                for place, part in enumerate(before)
                for op in choices(part.op)
                if op != part.op
            ]
            first: dict[int, Changes] = {}
            for changes in self._helpful(wanted):
                first.setdefault(changes[0].place, changes)
            self._together(list(first.values()))

    def _reorder(self) -> None:
        """Exchange steps, two at a time, that are not in the usual order."""
        before: Parts = ()
        while self._parts != before:
            before = self._parts
            placed = [
                (usual, place)
                for place, part in enumerate(before)
                if not part.observes and (usual := usual_place(part.op)) is not None
            ]
            wanted = [
                [_Change(one, before[other]), _Change(other, before[one])]
                for (later, one), (sooner, other) in pairwise(placed)
                if later > sooner
            ]
            # Two exchanges may move the same step.
            self._together(self._helpful(wanted)[:1])

    def _helpful(self, alternatives: Sequence[Changes]) -> list[Changes]:
        """Return the changes with which the scenario still fails, each made alone."""
        made = [self._changed(changes) for changes in alternatives]
        stays = self._try(made)
        return [changes for changes, fails in zip(alternatives, stays, strict=True) if fails]

    def _together(self, helpful: Sequence[Changes]) -> None:
        """Make all of these changes, or as many as possible: first all, then each half."""
        if not helpful:
            return
        before = self._parts
        changed = self._changed([change for changes in helpful for change in changes])
        if self._try([changed])[0]:
            self._accept(changed)
        elif len(helpful) > 1:
            half = len(helpful) // 2
            self._together(helpful[:half])
            if self._parts == before:
                self._together(helpful[half:])

    def _changed(self, changes: Iterable[_Change]) -> Parts:
        of = {change.place: change.op for change in changes}
        changed = (of.get(place, part) for place, part in enumerate(self._parts))
        return judgeable_of((part for part in changed if part is not None), self._host)

    def _try(self, made: Sequence[Parts]) -> list[bool]:
        """Return whether each still fails; without a budget, what is not known does not."""
        new = [parts for parts in dict.fromkeys(made) if parts and parts not in self._known]
        for batch in _batches(new):
            if self._is_spent(len(batch)):
                break
            self.trials += len(batch)
            self._progress.now(f"{len(self._parts)} ops left after {self.trials} trials")
            found = self._stays([with_parts(self.best, parts) for parts in batch])
            self._known.update(zip(batch, found, strict=True))
        return [self._known.get(parts, False) for parts in made]

    def _is_spent(self, more: int) -> bool:
        return self.trials + more > self._budget.trials or self._clock() > self._end

    def _accept(self, parts: Parts) -> None:
        self._parts = parts
        self.best = with_parts(self.best, parts)


def _batches(made: Sequence[Parts]) -> Iterator[Sequence[Parts]]:
    for start in range(0, len(made), _BATCH):
        yield made[start : start + _BATCH]
