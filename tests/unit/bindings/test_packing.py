"""Small structures, packed field by field."""

from __future__ import annotations

import struct

import pytest

from kvmprobe.bindings.packing import Record
from kvmprobe.errors import LayoutError

PAIR = Record("struct pair", first="I", rest="3H", pad="2B")


def test_fields_follow_each_other_without_gaps():
    assert PAIR.pack(first=1, rest=(2, 3, 4)) == struct.pack("<IHHHxx", 1, 2, 3, 4)


def test_what_has_no_value_is_zero():
    assert PAIR.pack(rest=(2,)) == struct.pack("<IHHHxx", 0, 2, 0, 0)


def test_more_elements_than_an_array_has_are_refused():
    with pytest.raises(LayoutError, match="struct pair: rest: 3 at most, not 4"):
        PAIR.pack(rest=(1, 2, 3, 4))


@pytest.mark.parametrize("number", [-1, 1 << 16])
def test_the_element_that_does_not_fit_is_named(number):
    with pytest.raises(LayoutError, match=f"struct pair: rest: {number} does not fit 16 bits"):
        PAIR.pack(rest=(0, number))
