"""Small structures, packed member by member."""

from __future__ import annotations

import struct

import pytest

from kvmprobe.abi.layout import Layout
from kvmprobe.bindings.packing import pack
from kvmprobe.errors import LayoutError

PAIR = Layout("struct pair", {"first": "I", "rest": "3H", "pad": "2x"})
NESTED = Layout("struct nested", {"pair": PAIR, "names": "4s4s"})


def test_members_follow_each_other_without_gaps():
    assert pack(PAIR, {"first": 1, "rest": (2, 3, 4)}) == struct.pack("<IHHHxx", 1, 2, 3, 4)


def test_what_has_no_value_is_zero():
    assert pack(PAIR, {"rest": (2,)}) == struct.pack("<IHHHxx", 0, 2, 0, 0)


def test_more_elements_than_an_array_has_are_refused():
    with pytest.raises(LayoutError, match="struct pair: rest: 3 at most, not 4"):
        pack(PAIR, {"rest": (1, 2, 3, 4)})


@pytest.mark.parametrize("number", [-1, 1 << 16])
def test_the_element_that_does_not_fit_is_named(number):
    with pytest.raises(LayoutError, match=f"struct pair: rest: {number} does not fit 16 bits"):
        pack(PAIR, {"rest": (0, number)})


def test_a_structure_within_takes_its_members():
    packed = pack(NESTED, {"pair": {"first": 7}, "names": (b"ab", b"cdef")})
    assert packed == struct.pack("<I8x", 7) + b"ab\0\0cdef"


def test_a_member_of_a_structure_within_is_named_by_its_path():
    with pytest.raises(LayoutError, match=r"struct nested: pair\.first: -1 does not fit 32 bits"):
        pack(NESTED, {"pair": {"first": -1}})


def test_bytes_that_an_array_has_no_room_for_are_refused():
    with pytest.raises(LayoutError, match="struct nested: names: 4 bytes at most, not 5"):
        pack(NESTED, {"names": (b"abcde",)})


def test_a_member_that_the_structure_lacks_is_a_mistake():
    with pytest.raises(KeyError, match="second"):
        pack(PAIR, {"second": 1})
