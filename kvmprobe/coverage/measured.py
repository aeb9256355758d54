"""Coverage of one kernel: its blocks, and which scenario reached which of them.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

from kvmprobe.coverage.blocks import blocks_of
from kvmprobe.coverage.disassembly import Disassembly
from kvmprobe.coverage.graph import Graph
from kvmprobe.coverage.reached import FallThrough, numbers
from kvmprobe.coverage.scope import source_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.coverage.blocks import Block
    from kvmprobe.coverage.functions import KernelFunctions


@dataclass(frozen=True)
class Measured:
    """What was measured.

    :ivar blocks: all blocks of the functions in scope; a set's bit N is the N-th of them
    :ivar by_scenario: what each scenario reached, in the order in which they ran
    :ivar names: symbols, by address, of what they call
    """

    blocks: tuple[Block, ...]
    by_scenario: Mapping[str, int]
    names: Mapping[int, str]

    @classmethod
    def of(cls, functions: KernelFunctions, reached: Mapping[str, int]) -> Self:
        """Find the blocks of functions, and complete the sets that the emulator reported."""
        blocks = tuple(blocks_of(functions.functions))
        fall_through = FallThrough(blocks)
        completed = {name: fall_through.complete(bits) for name, bits in reached.items()}
        return cls(blocks, completed, functions.names)

    def has_blocks_of(self, other: Measured) -> bool:
        """Return True if both number the same blocks, so that sets of them can be compared."""
        return [block.start for block in self.blocks] == [block.start for block in other.blocks]

    @cached_property
    def graph(self) -> Graph:
        """The branches between the blocks."""
        return Graph.of(self.blocks)

    @cached_property
    def disassembly(self) -> Disassembly:
        """Their text."""
        return Disassembly(self.blocks, self.names)

    @cached_property
    def reached(self) -> int:
        """The blocks that any scenario reached."""
        union = 0
        for bits in self.by_scenario.values():
            union |= bits
        return union

    @cached_property
    def first_by(self) -> dict[int, str]:
        """The scenario that first reached each block, by the block's number."""
        first: dict[int, str] = {}
        seen = 0
        for name, bits in self.by_scenario.items():
            first |= dict.fromkeys(numbers(bits & ~seen), name)
            seen |= bits
        return first

    @cached_property
    def by_function(self) -> dict[tuple[str, str], list[int]]:
        """Numbers of each function's blocks, by module and name in C."""
        found: dict[tuple[str, str], list[int]] = {}
        for number, block in enumerate(self.blocks):
            name = source_name(block.function.symbol)
            found.setdefault((block.function.module, name), []).append(number)
        return found
