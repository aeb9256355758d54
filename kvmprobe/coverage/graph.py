"""How control goes from block to block.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmprobe.coverage.blocks import Block


@dataclass(frozen=True, slots=True)
class Graph:
    """The direct branches between blocks, by block number; calls return behind themselves.

    Indirect branches and the kernel's exception tables are not known here.
    """

    before: tuple[tuple[int, ...], ...]
    after: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Self:
        """Find them."""
        at = {block.start: number for number, block in enumerate(blocks)}
        after = tuple(
            tuple(at[address] for address in block.successors() if address in at)
            for block in blocks
        )
        before: list[list[int]] = [[] for _ in blocks]
        for number, targets in enumerate(after):
            for target in targets:
                before[target].append(number)
        return cls(tuple(map(tuple, before)), after)

    def spread(self, known: set[int], possible: Callable[[int], bool]) -> set[int]:
        """Return ``known``, and the possible blocks which only lead there or only come from there.

        A block that never executes takes with it those that are behind it alone, and those after
        which nothing else can execute.
        """
        done = set(known)
        left = list(known)
        while left:
            number = left.pop()
            for near in (*self.after[number], *self.before[number]):
                if near not in done and possible(near) and self._follows(near, done):
                    done.add(near)
                    left.append(near)
        return done

    def _follows(self, number: int, done: set[int]) -> bool:
        ahead, behind = self.after[number], self.before[number]
        return (bool(behind) and done.issuperset(behind)) or (
            bool(ahead) and done.issuperset(ahead)
        )
