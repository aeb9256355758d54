from __future__ import annotations

import pytest

from kvmprobe.coverage.blocks import blocks_of
from kvmprobe.coverage.functions import KernelFunction
from kvmprobe.coverage.reached import FallThrough, numbers, pack, unpack

# xor eax, eax; (1) inc eax; jne (1); (2) ret
LOOP = KernelFunction("kvm", "f", 0xFFFFFFFFC0000000, bytes.fromhex("31c0 ffc0 75fc c3"))


@pytest.mark.parametrize("bits", [b"", b"\0", b"\x01", b"\x00\x80\x01\x00"])
def test_a_packed_set_is_unpacked(bits: bytes) -> None:
    assert unpack(pack(bits)) == int.from_bytes(bits, "little")


@pytest.mark.parametrize(
    "text", ["", "?", "AAAA", pack(b"\x01")[:-4], pack(b"\x01" * ((1 << 20) + 1))]
)
def test_a_damaged_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(text)


def test_numbers_are_those_of_the_bits() -> None:
    assert numbers(0b1010_0000_0001) == [0, 9, 11]
    assert numbers(0) == []


def test_a_block_is_entered_from_the_one_before_without_a_branch() -> None:
    fall_through = FallThrough(blocks_of([LOOP]))
    assert fall_through.complete(0b001) == 0b011
    assert fall_through.complete(0b100) == 0b100


def test_nothing_falls_into_the_next_function() -> None:
    # Two functions side by side, the first of which does not return: xor eax, eax; nop.
    first = KernelFunction("kvm", "g", LOOP.address - 3, bytes.fromhex("31c090"))
    blocks = blocks_of([first, LOOP])
    assert FallThrough(blocks).complete(0b0001) == 0b0001
