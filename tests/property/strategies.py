"""Random layouts, images, ops and histories."""

from __future__ import annotations

import string
from functools import cache

from hypothesis import strategies as st

from kvmprobe.scenarios.literal_fields import Bytes
from kvmprobe.scenarios.op_fields import (
    Choice,
    Items,
    Members,
    Number,
    Row,
    Text,
    TextOrNone,
    kinds,
)
from kvmprobe.scenarios.ops import registry
from kvmprobe.xstate.image import XsaveFields
from kvmprobe.xstate.layout import Component, Layout

BITS_OF_INTEREST = (0, 1, 2, 3, 5, 6, 7, 9, 10, 11, 17, 18, 19, 63)
bitmaps = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.sets(st.sampled_from(BITS_OF_INTEREST)).map(lambda bits: sum(1 << b for b in bits)),
)
names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=32)
LIKELY = (0, 0x1, 0x2, 0x3, 0x4, 0x7, 0x200, 0x2E7, 0x60000, 0x602E7)
likely_bitmaps = st.sampled_from(LIKELY)


@st.composite
def layouts(draw):
    """Components with gaps, in any order of their numbers."""
    numbers = draw(st.lists(st.integers(2, 62), unique=True, max_size=8))
    offset, found = 576, []
    for nr in numbers:
        offset += draw(st.integers(0, 64))
        size = draw(st.integers(1, 256))
        found.append(Component(nr, offset, size))
        offset += size
    return Layout.of(draw(st.permutations(found)))


@st.composite
def fields_in(draw, layout):
    """An image's fields, with any of the layout's components."""
    contents = {}
    for nr, size in ((0, 152), (1, 256), *((c.nr, c.size) for c in layout.components)):
        if draw(st.booleans()):
            contents[nr] = draw(st.binary(min_size=size, max_size=size))
    return XsaveFields(
        xstate_bv=draw(bitmaps),
        contents=contents,
        mxcsr=draw(st.integers(0, (1 << 32) - 1)),
        mxcsr_mask=draw(st.integers(0, (1 << 32) - 1)),
        xcomp_bv=draw(bitmaps),
        software_word=draw(bitmaps),
        reserved=draw(st.binary(min_size=48, max_size=48)),
    )


@cache
def op_values(op_class):
    """An op of a class, with any value that each field may have."""
    return st.builds(op_class, **{name: values_of(kind) for name, kind in kinds(op_class).items()})


@cache
def values_of(kind):  # noqa: PLR0911 - one return for each kind
    """The values that a kind of field may have; of large numbers, more of the likely ones."""
    match kind:
        case Text():
            return names
        case TextOrNone():
            return st.just("") | names
        case Choice():
            return st.sampled_from(kind.members)
        case Items():
            return st.lists(values_of(kind.item), max_size=3).map(tuple)
        case Members():
            return members_of(kind)
        case Row():
            return st.tuples(*map(values_of, kind.kinds))
        case _:
            return numbers_or_bytes(kind)


def numbers_or_bytes(kind):
    match kind:
        case Number(largest):
            # No filter: what is refused is drawn again, and again.
            likely = [value for value in LIKELY if value <= largest]
            return st.integers(0, largest) | st.sampled_from(likely)
        case Bytes(least, most):
            return st.sampled_from((least, most)).map(bytes)


def members_of(kind):
    one = [st.tuples(st.just(name), values_of(width)) for name, width in kind.widths.items()]
    return st.just(()) | st.one_of(one).map(lambda pair: (pair,))


any_op = st.one_of([op_values(op_class) for _, op_class in sorted(registry().items())])
