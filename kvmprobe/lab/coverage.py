"""Measuring coverage on emulated machines: arms a booted machine with the blocks to report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.coverage.blocks import blocks_of
from kvmprobe.coverage.static_keys import is_same_text

if TYPE_CHECKING:
    from kvmprobe.coverage.functions import KernelFunctions
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
        self._addresses = [block.start for block in blocks_of(functions.functions)]

    def arm(self, machine: Machine) -> None:
        """Have a machine that waits for input, and its forks, report the blocks they reach.

        If its kernel's text is not what was read earlier, it reports none, and ``problem`` says so.

        :raises LabError: the machine has ended
        """
        listed = self.functions.functions
        ranges = [(each.address, len(each.code)) for each in listed]
        text = machine.read_text(ranges)
        if text is None:
            self.problem = "its functions are not where they were when they were read"
            return
        other = [
            each.symbol
            for each, code in zip(listed, text, strict=True)
            if not is_same_text(each.code, code)
        ]
        if other:
            self.problem = (
                f"the text of {len(other)} functions is not what it was when they were read: "
                f"{', '.join(other[:_SHOWN])}"
            )
            return
        machine.watch_blocks(self._addresses)


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
