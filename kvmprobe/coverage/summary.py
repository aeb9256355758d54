"""Coverage by function, in numbers.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.coverage.reasons import Explained

if TYPE_CHECKING:
    from kvmprobe.coverage.measured import Measured
    from kvmprobe.coverage.reasons import Reason


@dataclass(frozen=True, slots=True)
class FunctionCoverage:
    """One function of the kernel, all its parts and clones together.

    :ivar blocks: numbers of its blocks
    :ivar reached: those that a scenario reached
    :ivar explained: those that none reached, and that have a reason
    :ivar first_by: the scenario that was the first to reach any of them; empty if none did
    """

    module: str
    name: str
    blocks: tuple[int, ...]
    reached: tuple[int, ...]
    explained: tuple[int, ...]
    first_by: str

    @property
    def open(self) -> tuple[int, ...]:
        """The blocks that no scenario reached, and that have no reason."""
        known = {*self.reached, *self.explained}
        return tuple(number for number in self.blocks if number not in known)


@dataclass(frozen=True, slots=True)
class Summary:
    """Coverage of one kernel.

    :ivar contradicted: blocks that a reason is for, and that were reached
    :ivar reason: the reason of each block that was not reached, where there is one
    """

    functions: tuple[FunctionCoverage, ...]
    contradicted: tuple[int, ...]
    reason: dict[int, Reason]

    @classmethod
    def of(cls, measured: Measured, kernel: str) -> Summary:
        """Sum up; ``kernel`` is its upstream version."""
        explained = Explained.of(measured, kernel)
        functions = []
        for (module, name), numbers in sorted(measured.by_function.items()):
            reached = tuple(number for number in numbers if measured.reached >> number & 1)
            order = {scenario: place for place, scenario in enumerate(measured.by_scenario)}
            firsts = {measured.first_by[number] for number in reached}
            functions.append(
                FunctionCoverage(
                    module,
                    name,
                    tuple(numbers),
                    reached,
                    tuple(number for number in numbers if number in explained.reason),
                    min(firsts, key=order.__getitem__, default=""),
                )
            )
        contradicted = tuple(explained.contradicted(measured))
        return cls(tuple(functions), contradicted, dict(explained.reason))

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return sum(len(each.blocks) for each in self.functions)

    @property
    def reached(self) -> int:
        """How many were reached."""
        return sum(len(each.reached) for each in self.functions)

    @property
    def explained(self) -> int:
        """How many were not reached, and have a reason."""
        return sum(len(each.explained) for each in self.functions)

    @property
    def share(self) -> float:
        """The part of the blocks that was reached or has a reason, 0 to 1."""
        return (self.reached + self.explained) / self.blocks if self.blocks else 1.0
