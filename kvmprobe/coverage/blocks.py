"""Basic blocks of machine code.  Pure.

A block begins at a function's first instruction, at the target of a direct branch, and behind an
instruction that can go elsewhere: a branch, a call, a return, a trap.  So a block has one such
instruction at most, its last one; if control falls into the next block, it has none.
Padding (NOP, INT3) behind an instruction that does not go on is no block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iced_x86 import Code, Decoder, FlowControl, Instruction, Mnemonic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmprobe.coverage.functions import KernelFunction

_LEAVES = {FlowControl.RETURN, FlowControl.UNCONDITIONAL_BRANCH, FlowControl.INDIRECT_BRANCH}
_RETURNS_BEHIND = {
    FlowControl.CONDITIONAL_BRANCH,
    FlowControl.CALL,
    FlowControl.INDIRECT_CALL,
    FlowControl.EXCEPTION,  # UD2: Linux goes on behind it after a warning
    FlowControl.INTERRUPT,
}
_BRANCHES = {FlowControl.CONDITIONAL_BRANCH, FlowControl.UNCONDITIONAL_BRANCH, FlowControl.CALL}
_PADDING = {Mnemonic.NOP, Mnemonic.INT3}


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions without a branch between them.

    :ivar function: which symbol's code it is in
    :ivar start: linear address of its first instruction
    :ivar instructions: all of them
    """

    function: KernelFunction
    instructions: tuple[Instruction, ...]

    @property
    def start(self) -> int:
        """Linear address of its first instruction."""
        return self.instructions[0].ip

    @property
    def end(self) -> int:
        """Linear address behind its last instruction."""
        return self.instructions[-1].next_ip

    @property
    def last(self) -> Instruction:
        """The instruction that ends it."""
        return self.instructions[-1]

    @property
    def falls_through(self) -> bool:
        """True if it ends only because something branches to what follows."""
        return self.last.flow_control not in _LEAVES | _RETURNS_BEHIND

    def successors(self) -> tuple[int, ...]:
        """Addresses at which execution can go on: targets of a branch, and what follows."""
        flow = self.last.flow_control
        function_end = self.function.address + len(self.function.code)
        targets = () if flow in _LEAVES or self.end == function_end else (self.end,)
        if flow in {FlowControl.CONDITIONAL_BRANCH, FlowControl.UNCONDITIONAL_BRANCH}:
            return (*targets, self.last.near_branch_target)
        return targets


def decode(function: KernelFunction) -> list[Instruction]:
    """Return a function's instructions in the order of their addresses."""
    return list(Decoder(64, function.code, ip=function.address))


def blocks_of(functions: Sequence[KernelFunction]) -> list[Block]:
    """Return the blocks of functions in the order of their addresses.

    A branch from one function of the list into another begins a block there.
    """
    code = [(function, decode(function)) for function in functions]
    targets = {target for _, instructions in code for target in _targets(instructions)}
    return [block for function, each in code for block in _split(function, each, targets)]


def _targets(instructions: Iterable[Instruction]) -> Iterable[int]:
    return (each.near_branch_target for each in instructions if each.flow_control in _BRANCHES)


def _split(
    function: KernelFunction, instructions: Sequence[Instruction], targets: set[int]
) -> list[Block]:
    blocks: list[Block] = []
    current: list[Instruction] = []
    left = False  # behind an instruction that does not go on

    def close() -> None:
        if current:
            blocks.append(Block(function, tuple(current)))
            current.clear()

    for instruction in instructions:
        if instruction.ip in targets:
            close()
        elif not current and left and instruction.mnemonic in _PADDING:
            continue
        if instruction.code == Code.INVALID:
            close()
            left = True
            continue
        current.append(instruction)
        left = instruction.flow_control in _LEAVES or instruction.mnemonic == Mnemonic.UD2
        if left or instruction.flow_control in _RETURNS_BEHIND:
            close()
    close()
    return blocks
