"""Measuring coverage on emulated machines: arms a booted machine with the blocks to report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.coverage.blocks import blocks_of
from kvmprobe.coverage.reached import FallThrough
from kvmprobe.coverage.same_text import is_same_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.coverage.functions import KernelFunction, KernelFunctions
    from kvmprobe.lab.machine import Machine

_SHOWN = 5


class Coverage:
    """The functions to watch on every machine that boots one kernel.

    :ivar functions: all functions in scope; a block's number is its place among all their blocks
    :ivar problem: why a machine does not report blocks; empty if all do
    """

    def __init__(self, functions: KernelFunctions) -> None:
        self.functions = functions
        self.problem = ""
        self._blocks = blocks_of(functions.functions)
        self._fall_through = FallThrough(self._blocks)

    def arm(self, machine: Machine) -> None:
        """Have a machine that waits for input, and its forks, report the blocks they reach.

        If its kernel's text is not what was read earlier, it reports none, and ``problem`` says so.

        :raises LabError: the machine has ended
        """
        moved = self._moved(machine)
        listed = self.functions.functions
        text = machine.read_text([(f.address + moved[f.module], len(f.code)) for f in listed])
        addresses = [block.start + moved[block.function.module] for block in self._blocks]
        if text is None:
            self.problem = "its functions are not where they were when they were read"
        elif other := [
            f.symbol for f, code in zip(listed, text, strict=True) if not _same(f, code, moved)
        ]:
            self.problem = (
                f"the text of {len(other)} functions is not what it was when they were read: "
                f"{', '.join(other[:_SHOWN])}"
            )
        elif addresses != sorted(addresses):
            self.problem = "its modules lie in another order than when their functions were read"
        else:
            machine.watch_blocks(addresses)

    def complete(self, bits: bytes) -> bytes:
        """Add to the blocks that a machine reports those into which control fell."""
        completed = self._fall_through.complete(int.from_bytes(bits, "little"))
        return completed.to_bytes(-(-completed.bit_length() // 8), "little")

    def _moved(self, machine: Machine) -> dict[str, int]:
        """Return how much higher each module lies than when its functions were read, bytes."""
        read = self.functions.modules
        moved = {name: machine.modules.get(name, at) - at for name, at in read.items()}
        return {**dict.fromkeys((f.module for f in self.functions.functions), 0), **moved}


def _same(function: KernelFunction, text: bytes, moved: Mapping[str, int]) -> bool:
    """Return True if the text of a function is what was read, but for where modules lie."""
    own = moved[function.module]
    # Relative to the instruction, or absolute.
    distances = {each - own for each in moved.values()} | set(moved.values())
    return is_same_text(function.code, text, distances - {0})


class ProgramCoverage(Coverage):
    """Coverage of one program.

    :ivar blocks: what it reached, a bit for each block; None until it is known
    """

    def __init__(self, functions: KernelFunctions) -> None:
        super().__init__(functions)
        self.blocks: bytes | None = None

    def reached(self, bits: bytes) -> None:
        """Take what the program has reached when it ended, or the machine."""
        self.blocks = bits
