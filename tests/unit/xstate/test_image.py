import struct

import pytest

from kvmprobe.errors import LayoutError
from kvmprobe.xstate.image import (
    XsaveFields,
    contents_in,
    decode,
    encode,
    init_content,
    is_init,
    place_of,
    significant_x87,
    xstate_bv_of,
)
from tests.support.hosts import AMX_LAYOUT


def test_fp_in_init_state_has_only_fcw():
    # SDM vol.1 13.6: FCW 037FH, all else 0.
    assert init_content(0, AMX_LAYOUT) == b"\x7f\x03" + bytes(150)


@pytest.mark.parametrize(("nr", "size"), [(1, 256), (2, 256), (9, 8), (17, 64), (18, 8192)])
def test_other_components_in_init_state_are_zero(nr, size):
    assert init_content(nr, AMX_LAYOUT) == bytes(size)


def test_header_lies_at_512():
    encoded = encode(XsaveFields(xstate_bv=0x60007, xcomp_bv=1 << 63), AMX_LAYOUT, 576)
    assert struct.unpack_from("<QQ", encoded, 512) == (0x60007, 1 << 63)


def test_mxcsr_and_its_mask_lie_at_24():
    encoded = encode(XsaveFields(mxcsr=0x1FA0, mxcsr_mask=0xFFFF), AMX_LAYOUT, 576)
    assert struct.unpack_from("<II", encoded, 24) == (0x1FA0, 0xFFFF)


def test_mxcsr_is_1f80_unless_given():
    # SDM vol.1 11.6.4: the value at reset.
    assert struct.unpack_from("<I", encode(XsaveFields(), AMX_LAYOUT, 576), 24) == (0x1F80,)


def test_software_word_lies_at_464():
    encoded = encode(XsaveFields(software_word=0x602E7), AMX_LAYOUT, 576)
    assert struct.unpack_from("<Q", encoded, 464) == (0x602E7,)


def test_reserved_header_bytes_lie_at_528():
    encoded = encode(XsaveFields(reserved=b"\1" * 48), AMX_LAYOUT, 600)
    assert encoded[528:577] == b"\1" * 48 + b"\0"


def test_fp_content_lies_around_mxcsr():
    content = bytes(range(1, 25)) + b"\xee" * 128
    encoded = encode(XsaveFields(contents={0: content}, mxcsr=0), AMX_LAYOUT, 576)
    assert encoded[:160] == bytes(range(1, 25)) + bytes(8) + b"\xee" * 128


def test_xmm_content_lies_at_160():
    encoded = encode(XsaveFields(contents={1: b"\xcc" * 256}), AMX_LAYOUT, 576)
    assert encoded[159:417] == b"\0" + b"\xcc" * 256 + b"\0"


@pytest.mark.parametrize(
    ("nr", "offset", "size"),
    [
        (2, 576, 256),
        (5, 1088, 64),
        (6, 1152, 512),
        (7, 1664, 1024),
        (9, 2688, 8),
        (17, 2752, 64),
        (18, 2816, 8192),
    ],
)
def test_extended_content_lies_at_its_offset(nr, offset, size):
    encoded = encode(XsaveFields(contents={nr: b"\xab" * size}), AMX_LAYOUT, 11008)
    assert [i for i in range(576, 11008) if encoded[i] == 0xAB] == [*range(offset, offset + size)]


def test_content_of_the_wrong_size_is_refused():
    with pytest.raises(LayoutError, match="component 9: a content of 4 bytes"):
        encode(XsaveFields(contents={9: bytes(4)}), AMX_LAYOUT, 4096)


def test_content_beyond_the_image_is_refused():
    with pytest.raises(LayoutError, match="component 18"):
        encode(XsaveFields(contents={18: bytes(8192)}), AMX_LAYOUT, 4096)


def test_decode_leaves_out_components_beyond_the_end():
    assert 18 not in decode(bytes(4096), AMX_LAYOUT).contents


def test_decode_takes_the_component_that_ends_with_the_image():
    assert decode(bytes(11008), AMX_LAYOUT).contents[18] == bytes(8192)


def test_decode_needs_legacy_region_and_header():
    with pytest.raises(LayoutError, match="575 bytes"):
        decode(bytes(575), AMX_LAYOUT)


def test_xstate_bv_of_reads_the_header():
    assert xstate_bv_of(bytes(512) + b"\xe7\x02\x06" + bytes(61)) == 0x602E7


def test_fp_has_two_places():
    assert place_of(0, AMX_LAYOUT) == (range(24), range(32, 160))


def test_fcw_alone_is_not_init():
    assert not is_init(0, b"\x7f\x02" + bytes(150), AMX_LAYOUT)


def test_contents_in_takes_only_the_components_of_the_bitmap():
    fields = XsaveFields(contents={1: b"a", 2: b"b", 9: b"c"})
    assert contents_in(0x202, fields) == {1: b"a", 9: b"c"}


def test_nothing_of_a_clean_x87_content_is_insignificant():
    clean = b"\x7f\x02\x00\x38\xff" + bytes(19) + (b"\x33" * 10 + bytes(6)) * 8
    assert significant_x87(clean) == clean


@pytest.mark.parametrize("offset", [5, 6, 8, 23, 34, 39, 151])
def test_pointers_and_reserved_bytes_of_x87_are_insignificant(offset):
    # SDM vol.1 table 10-2: 5 reserved, FOP 6, FIP 8, FDP 16, ST0 from 24 on here: 10 bytes and 6
    content = bytearray(b"\x7f\x02" + bytes(150))
    clean = bytes(content)
    content[offset] = 0xEE
    assert significant_x87(bytes(content)) == clean


def test_reserved_bits_of_fcw_are_insignificant():
    # SDM vol.1 8.1.5: bits 6, 7 and 13 to 15; bit 6 reads as 1
    assert significant_x87(b"\xbf\xe2" + bytes(150))[:2] == b"\x7f\x02"
