"""Bisection of an ordered list of kernels, some of which cannot be tested.  Pure.

The end that is called bad is tested first, since what is looked for is what it shows.  The end that
is called good is tested only if nothing between the two is good, so that the kernels on both sides
of the change have been seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Seen(Enum):
    """What testing a kernel came to."""

    BAD = "bad"
    GOOD = "good"
    UNTESTABLE = "untestable"


@dataclass(frozen=True, slots=True)
class Bisection:
    """What is known so far.

    :ivar rungs: the kernels, in the order of their versions; the first is bad and the last is good,
        or the other way round
    :ivar bad_first: whether the first rung is the bad one
    :ivar seen: what the tested kernels came to
    """

    rungs: tuple[str, ...]
    bad_first: bool
    seen: dict[str, Seen] = field(default_factory=dict)

    def with_result(self, rung: str, seen: Seen) -> Bisection:
        """Return it with the result of one kernel."""
        return Bisection(self.rungs, self.bad_first, {**self.seen, rung: seen})

    @property
    def next(self) -> str | None:
        """The kernel to test next; None if no test can narrow it further."""
        path = self._path
        if path[0] not in self.seen:
            return path[0]
        if self.seen[path[0]] is not Seen.BAD:
            return None
        low, high = self._bounds
        between = [n for n in range(low + 1, high) if path[n] not in self.seen]
        if between:
            return path[min(between, key=lambda n: abs(2 * n - low - high))]
        return None if path[high] in self.seen else path[high]

    @property
    def last_bad(self) -> str:
        """The bad kernel that is next to the good ones."""
        return self._path[self._bounds[0]]

    @property
    def first_good(self) -> str:
        """The good kernel that is next to the bad ones; without any, the end called good."""
        return self._path[self._bounds[1]]

    @property
    def untestable_between(self) -> tuple[str, ...]:
        """Kernels between those two: the change may be in any of them."""
        low, high = self._bounds
        return self._in_order(self._path[low + 1 : high])

    @property
    def contradiction(self) -> str:
        """An end that is not what it was called, or cannot be tested; empty if there is none."""
        path = self._path
        wanted = {path[0]: Seen.BAD, path[-1]: Seen.GOOD}
        return next(
            (end for end, seen in wanted.items() if self.seen.get(end, seen) is not seen), ""
        )

    @property
    def most_tests(self) -> int:
        """The most tests that are needed if each kernel can be tested."""
        inner = len(self.rungs) - 2
        return 1 + max(inner.bit_length(), 0) + 1

    @property
    def _path(self) -> tuple[str, ...]:
        """The rungs from the bad end to the good one."""
        return self._in_order(self.rungs)

    def _in_order(self, rungs: tuple[str, ...]) -> tuple[str, ...]:
        return rungs if self.bad_first else rungs[::-1]

    @property
    def _bounds(self) -> tuple[int, int]:
        path = self._path
        good = [n for n, rung in enumerate(path) if self.seen.get(rung) is Seen.GOOD]
        high = min(good, default=len(path) - 1)
        bad = [n for n, rung in enumerate(path[:high]) if self.seen.get(rung) is Seen.BAD]
        return max(bad, default=0), high
