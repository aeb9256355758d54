"""Text of machine code: a block's instructions, and the call that says best what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iced_x86 import FlowControl, Formatter, FormatterSyntax

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iced_x86 import Instruction

    from kvmprobe.coverage.blocks import Block
    from kvmprobe.coverage.functions import KernelFunction

_CALLS = {FlowControl.CALL, FlowControl.UNCONDITIONAL_BRANCH}


class Disassembly:
    """Formats the blocks of one kernel, with its symbols."""

    def __init__(self, blocks: Sequence[Block], names: Mapping[int, str]) -> None:
        self._blocks = blocks
        self._names = {block.function.address: block.function.symbol for block in blocks}
        self._names |= names
        self._formatter = Formatter(FormatterSyntax.INTEL)
        self._formatter.hex_prefix, self._formatter.hex_suffix = "0x", ""
        self._formatter.uppercase_hex = False
        self._formatter.branch_leading_zeros = False
        self._formatter.show_branch_size = False
        self._formatter.rip_relative_addresses = False

    def place(self, block: Block) -> str:
        """Return function and offset: ``kvm_set_msr_common+0x12``."""
        return _place(block.function, block.start)

    def lines(self, block: Block) -> tuple[str, ...]:
        """Return its instructions."""
        return tuple(self.line(instruction, block.function) for instruction in block.instructions)

    def line(self, instruction: Instruction, function: KernelFunction) -> str:
        """Return one instruction; a direct branch has a symbol, or an offset in its function."""
        target = instruction.near_branch_target
        if not target:
            return self._formatter.format(instruction)
        mnemonic = self._formatter.format_mnemonic(instruction)
        if name := self._names.get(target):
            return f"{mnemonic} {name}"
        inside = function.address <= target < function.address + len(function.code)
        return f"{mnemonic} {_place(function, target) if inside else hex(target)}"

    def called(self, block: Block) -> str:
        """Return the name of the function that a block calls or ends with a jump to; else ""."""
        if block.last.flow_control not in _CALLS:
            return ""
        return self._names.get(block.last.near_branch_target, "")

    def nearest_call(self, number: int) -> str:
        """Return what is called first from a block on, straight ahead in its function; else ""."""
        for block in self._blocks[number:]:
            if block.function is not self._blocks[number].function:
                return ""
            if name := self.called(block):
                return name
        return ""


def _place(function: KernelFunction, address: int) -> str:
    return f"{function.symbol}+{address - function.address:#x}"
