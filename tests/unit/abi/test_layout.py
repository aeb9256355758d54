"""Layouts of structures: offsets counted by hand."""

from __future__ import annotations

import doctest

import pytest

from kvmprobe.abi import ioctls, layout
from kvmprobe.abi.fields import kind_of
from kvmprobe.abi.layout import FieldKind, Layout

INNER = Layout("", {"a": "B", "b": "H", "pad": "x"})
OUTER = Layout("struct outer", {"first": "I", "inner": INNER, "array": "3H", "reserved": "6x"})


def test_the_example():
    assert doctest.testmod(layout).failed == 0


@pytest.mark.parametrize(
    ("path", "offset"), [("first", 0), ("inner", 4), ("inner.b", 5), ("array", 8), ("reserved", 14)]
)
def test_members_follow_each_other_without_gaps(path, offset):
    assert (OUTER.offset(path), OUTER.size) == (offset, 20)


def test_places_number_the_elements_and_leave_out_reserved_bytes():
    elements = {f"array{nr}": (8 + 2 * nr, "H") for nr in range(3)}
    assert OUTER.places() == {"first": (0, "I"), "inner": (4, "I"), **elements}


def test_a_place_within_a_structure_has_both_names():
    assert OUTER.places("inner.a", "inner.b") == {"inner_a": (4, "B"), "inner_b": (5, "H")}


def test_a_number_has_no_members():
    with pytest.raises(KeyError, match=r"struct outer\.first has no members"):
        OUTER.offset("first.low")


def test_the_kind_of_a_member_comes_from_its_structure():
    assert ioctls.KVM_MP_STATE.kinds == {"mp_state": FieldKind.COUNT}
    assert (kind_of("mp_state"), kind_of("dr6")) == (FieldKind.COUNT, FieldKind.HEX)


def test_the_size_in_a_number_is_its_arguments():
    # asm-generic/ioctl.h: _IOC_SIZE is bits 16 to 29.
    sizes = {spec.name: spec.number >> 16 & 0x3FFF for spec in ioctls.ALL}
    assert (sizes["KVM_GET_SREGS"], sizes["KVM_RUN"]) == (312, 0)
