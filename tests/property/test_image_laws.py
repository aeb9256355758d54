"""Images and layouts of CPUs that do not exist yet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmprobe.errors import LayoutError
from kvmprobe.xstate.diff import differences
from kvmprobe.xstate.image import XsaveFields, decode, encode, place_of
from kvmprobe.xstate.layout import Component, Layout
from tests.property.strategies import fields_in, layouts


@given(st.data())
def test_decoding_gives_back_what_was_encoded(data):
    layout = data.draw(layouts())
    fields = data.draw(fields_in(layout))
    size = layout.size(layout.bitmap) + data.draw(st.integers(0, 64))
    decoded = decode(encode(fields, layout, size), layout)
    present = {nr: decoded.contents[nr] for nr in fields.contents}
    expected = (fields.xstate_bv, fields.mxcsr, fields.mxcsr_mask, fields.xcomp_bv)
    assert present == fields.contents
    assert (decoded.xstate_bv, decoded.mxcsr, decoded.mxcsr_mask, decoded.xcomp_bv) == expected
    assert (decoded.software_word, decoded.reserved) == (fields.software_word, fields.reserved)


@given(st.data())
def test_encoding_what_was_decoded_changes_no_byte_of_a_field(data):
    layout = data.draw(layouts())
    fields = data.draw(fields_in(layout))
    image = encode(fields, layout, layout.size(layout.bitmap))
    assert encode(decode(image, layout), layout, len(image)) == image


@given(layouts(), st.data())
def test_size_grows_with_the_bitmap(layout, data):
    numbers = [c.nr for c in layout.components]
    larger = data.draw(st.sets(st.sampled_from(numbers)) if numbers else st.just(set()))
    smaller = data.draw(st.sets(st.sampled_from(sorted(larger))) if larger else st.just(set()))
    assert layout.size(sum(1 << n for n in smaller)) <= layout.size(sum(1 << n for n in larger))


@given(layouts())
def test_places_of_components_do_not_overlap(layout):
    taken = [
        offset
        for nr in (0, 1, *(c.nr for c in layout.components))
        for span in place_of(nr, layout)
        for offset in span
    ]
    assert len(set(taken)) == len(taken)


@given(layouts())
def test_no_component_lies_in_the_header(layout):
    spans = [s for c in layout.components for s in place_of(c.nr, layout)]
    assert all(span.start >= 576 for span in spans)


@given(layouts().filter(lambda layout: layout.components), st.data())
def test_what_overlaps_is_refused(layout, data):
    victim = data.draw(st.sampled_from(layout.components))
    intruder = Component(63, data.draw(st.integers(victim.offset, victim.end - 1)), 1)
    with pytest.raises(LayoutError):
        Layout.of([*layout.components, intruder])


@given(st.data())
def test_a_changed_byte_is_within_exactly_one_difference(data):
    layout = data.draw(layouts())
    image = encode(XsaveFields(), layout, layout.size(layout.bitmap))
    offset = data.draw(st.integers(0, len(image) - 1))
    changed = bytearray(image)
    changed[offset] ^= data.draw(st.integers(1, 255))
    (found,) = differences(image, bytes(changed), layout)
    assert (found.offset, found.where) == (offset, layout.name_of(offset))


@given(st.data())
def test_applying_the_differences_gives_the_other_image(data):
    layout = data.draw(layouts())
    size = layout.size(layout.bitmap)
    left = data.draw(st.binary(min_size=size, max_size=size))
    right = bytearray(left)
    for offset in data.draw(st.sets(st.integers(0, size - 1), max_size=20)):
        right[offset] ^= 0xFF
    patched = bytearray(left)
    # "padding" is the one name with several places, so what lies between may be another's.
    found_all = differences(left, bytes(right), layout)
    for found in sorted(found_all, key=lambda d: d.where != "padding"):
        patched[found.offset : found.offset + len(found.observed)] = found.observed
    assert patched == right
