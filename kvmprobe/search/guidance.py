"""Which sequences a search runs: new ones, and variations of those that reached something new.

What is new is known from the model before a sequence runs, and from the kernel's blocks after it,
where coverage is on.  The same seed and the same coverage give the same sequences.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import TYPE_CHECKING

from kvmprobe.results.growth import Strategy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from kvmprobe.scenarios.scenario import Scenario
    from kvmprobe.search.sequences import Made, Sequences

# At least so many of the sequences are variations, once there is one to vary, and at most.
_VARIED = {Strategy.GUIDED: (0.1, 0.9), Strategy.UNGUIDED: (0.0, 0.0)}
# What a sequence brought counts half after so many others of its way.
_HALF_LIFE = 300
# Entries that are varied: the last ones reached what others had not.
_RECENT = 400


@dataclass(slots=True)
class _Way:
    """One way to make sequences: how many there are, and what they brought, the last ones most."""

    tried: float = 1.0
    brought: float = 1.0

    @property
    def gain(self) -> float:
        """What a sequence brings."""
        return self.brought / self.tried

    def take(self, new: int) -> None:
        """Take what one more sequence brought."""
        kept = 0.5 ** (1 / _HALF_LIFE)
        self.tried = self.tried * kept + 1
        self.brought = self.brought * kept + new


@dataclass(slots=True)
class Entry:
    """A sequence that reached something new.

    :ivar reached: its transitions in the model
    :ivar blocks: the kernel's blocks that it reached, as a bitmap
    :ivar way: how it was made; None if it was given
    :ivar weight: how often it is varied, relative to others
    """

    scenario: Scenario
    reached: frozenset[int]
    way: _Way | None
    blocks: int = 0
    weight: int = 1


class Guidance:
    """Chooses sequences, and learns from them.

    The way of making them that brings more is taken more often: transitions, and blocks instead
    of them where they are known.

    :ivar entries: the sequences that reached something new, by id
    """

    def __init__(self, random: Random, sequences: Sequences, strategy: Strategy) -> None:
        self.entries: dict[str, Entry] = {}
        self._least, self._most = _VARIED[strategy]
        self._anew, self._varied = _Way(), _Way()
        self._random = random
        self._sequences = sequences
        self._seen: set[int] = set()
        self._blocks = 0
        self._made: dict[str, Entry] = {}
        self._to_run: deque[Made] = deque()
        self._from_corpus: dict[str, Scenario] = {}

    @property
    def transition_count(self) -> int:
        """How many transitions of the model have been reached."""
        return len(self._seen)

    @property
    def block_count(self) -> int:
        """How many blocks of the kernel have been reached."""
        return self._blocks.bit_count()

    def start_with(self, scenarios: Iterable[Scenario]) -> None:
        """Take the sequences of a corpus as entries; those that can be judged here run first."""
        for scenario in scenarios:
            made = self._sequences.again(scenario)
            self._take(made)
            if self._sequences.judges(scenario):
                self._to_run.append(made)

    def batch(self, prefix: str, first: int, count: int) -> list[Scenario]:
        """Return sequences to run next.

        :param prefix: of their ids, which end with a number
        :param first: the number of the first one
        """
        self._made = {}
        for number in range(first, first + count):
            if self._to_run:
                made = self._to_run.popleft()
                self._from_corpus[made.scenario.id] = made.scenario
                self._take(made)
            else:
                self._take(*self._one(f"{prefix}.{number}"))
        return [entry.scenario for entry in self._made.values()]

    def reached(self, scenario_id: str, blocks: int) -> bool:
        """Take the blocks that a sequence reached; return True if some of them are new."""
        new = blocks & ~self._blocks
        self._blocks |= blocks
        entry = self.entries.get(scenario_id) or self._made.get(scenario_id)
        if entry and entry.way:
            entry.way.take(new.bit_count())
        if not new or entry is None:
            return False
        entry.blocks |= blocks
        entry.weight += new.bit_count().bit_length()
        self.entries[scenario_id] = entry
        return True

    def smallest_cover(self) -> list[Entry]:
        """Return few entries that reached everything: each one adds to those before it."""
        seen: set[int] = set()
        blocks = 0
        kept = []
        for entry in sorted(self.entries.values(), key=_richness, reverse=True):
            if entry.reached - seen or entry.blocks & ~blocks:
                kept.append(entry)
                seen |= entry.reached
                blocks |= entry.blocks
        return kept

    def superfluous(self) -> list[Scenario]:
        """Return the sequences of the corpus that reach nothing that others do not reach as well.

        Nothing is superfluous if the blocks of the kernel are not known.
        """
        kept = {entry.scenario.id for entry in self.smallest_cover()}
        known = self._from_corpus if self._blocks else {}
        return [scenario for name, scenario in known.items() if name not in kept]

    def _one(self, name: str) -> tuple[Made, _Way]:
        entries = list(islice(reversed(self.entries.values()), _RECENT))
        share = self._varied.gain / (self._varied.gain + self._anew.gain)
        share = min(max(share, self._least), self._most)
        if not entries or self._random.random() >= share:
            return self._sequences.new(name), self._anew
        weights = list(accumulate(entry.weight for entry in entries))
        of, other = self._random.choices(entries, cum_weights=weights, k=2)
        return self._sequences.variation(name, of.scenario, other.scenario), self._varied

    def _take(self, made: Made, way: _Way | None = None) -> None:
        new = made.reached - self._seen
        self._seen |= new
        if way and not self._blocks:
            way.take(len(new))
        entry = Entry(made.scenario, made.reached, way, weight=len(new))
        self._made[entry.scenario.id] = entry
        if new:
            self.entries[entry.scenario.id] = entry


def _richness(entry: Entry) -> int:
    return len(entry.reached) + entry.blocks.bit_count()
