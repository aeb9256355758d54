"""Blocks of small pieces of code, whose bytes are given with their instructions."""

from __future__ import annotations

from kvmprobe.coverage.blocks import blocks_of
from kvmprobe.coverage.functions import KernelFunction, KernelFunctions

START = 0xFFFFFFFF81000000


def function(code: str, address: int = START, symbol: str = "f") -> KernelFunction:
    return KernelFunction("vmlinux", symbol, address, bytes.fromhex(code))


def starts(*functions: KernelFunction) -> list[int]:
    return [block.start - START for block in blocks_of(functions)]


def test_a_block_begins_behind_a_conditional_branch_and_at_its_target() -> None:
    # test edi, edi; je +5; mov eax, 1; ret
    assert starts(function("85ff 7405 b801000000 c3")) == [0, 4, 9]


def test_a_block_begins_behind_a_call() -> None:
    # call +0; ret
    assert starts(function("e800000000 c3")) == [0, 5]


def test_padding_behind_a_return_is_no_block() -> None:
    # ret; int3; nop; nop word
    assert starts(function("c3 cc 90 6690")) == [0]


def test_what_is_behind_a_jump_is_a_block_although_nothing_branches_to_it() -> None:
    # jmp +1; nop; xor eax, eax; ret
    assert starts(function("eb01 90 31c0 c3")) == [0, 3]


def test_a_padding_that_is_a_target_is_a_block() -> None:
    # je +1; ret; nop; ret
    assert starts(function("7401 c3 90 c3")) == [0, 2, 3]


def test_a_warning_goes_on_behind_ud2() -> None:
    # ud2; ret
    assert starts(function("0f0b c3")) == [0, 2]


def test_a_jump_from_another_function_begins_a_block() -> None:
    # f: xor eax, eax; ret; g, 16 bytes after f: jmp f+2
    other = function("ebf0", START + 16, "f.cold")
    assert starts(function("31c0 c3"), other) == [0, 2, 16]


def test_a_block_falls_through_only_into_a_target() -> None:
    # xor eax, eax; (target) inc eax; jne -4; ret
    loop = blocks_of([function("31c0 ffc0 75fc c3")])
    assert [block.falls_through for block in loop] == [True, False, False]


def test_successors_of_a_branch() -> None:
    first, *_ = blocks_of([function("7401 c3 c3")])
    assert first.successors() == (START + 2, START + 3)


def test_functions_survive_their_stored_form() -> None:
    stored = KernelFunctions((function("c3"),), {START: "g"}).to_json()
    assert KernelFunctions.from_json(stored).to_json() == stored
