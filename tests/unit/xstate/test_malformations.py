"""Uabi images that are odd in one place; offsets by SDM vol.1 13.4.1 and 13.4.2."""

import struct

import pytest

from kvmprobe.xstate.malformations import Malformation, malformed_image, random_content
from kvmprobe.xstate.patterns import content, image
from tests.support.hosts import AMX_LAYOUT, mxcsr, xstate_bv

EVERYTHING = 0x602E7


def odd(malformation, number=0, bv=EVERYTHING, size=11008):
    return malformed_image(bv, malformation, number, AMX_LAYOUT, size, 0xFFFF)


def changed(malformation, number=0, bv=EVERYTHING):
    """Offsets that differ from the image of patterns."""
    plain, seen = image(bv, AMX_LAYOUT, 11008, 0xFFFF), odd(malformation, number, bv)
    return {offset for offset in range(11008) if plain[offset] != seen[offset]}


def test_without_a_malformation_it_is_the_image_of_patterns():
    assert changed(Malformation.NONE) == set()


@pytest.mark.parametrize("malformation", Malformation)
def test_a_malformation_keeps_xstate_bv_and_size(malformation):
    seen = odd(malformation, 1)
    assert (xstate_bv(seen), len(seen)) == (EVERYTHING, 11008)


@pytest.mark.parametrize("malformation", Malformation)
@pytest.mark.parametrize("bv", [0, (1 << 64) - 1])
def test_any_malformation_fits_an_image_of_4096_bytes(malformation, bv):
    assert len(odd(malformation, 1 << 64, bv=bv, size=4096)) == 4096


@pytest.mark.parametrize(
    ("malformation", "number", "span"),
    [
        (Malformation.XCOMP_BV, 1 << 63, range(520, 528)),
        (Malformation.RESERVED, 0, range(528, 529)),
        (Malformation.RESERVED, 47, range(575, 576)),
        (Malformation.MXCSR, 0x1_1F80, range(24, 28)),
        (Malformation.MXCSR_MASK, 0x12345, range(28, 32)),
        (Malformation.SOFTWARE, 1, range(464, 472)),
        (Malformation.PKRU, 1 << 32, range(2688, 2696)),
        (Malformation.X87_POINTERS, 0, range(6, 24)),
        (Malformation.X87_ADDRESSES, 0, range(6, 24)),
        (Malformation.TILE_CONFIGURATION, 2, range(2752, 2753)),
    ],
)
def test_it_is_odd_where_it_says(malformation, number, span):
    assert changed(malformation, number)
    assert changed(malformation, number) <= set(span)


def test_a_number_is_written_little_endian():
    assert mxcsr(odd(Malformation.MXCSR, 0x1_1F80)) == 0x1_1F80


def test_padding_is_all_that_belongs_to_no_component():
    legacy = set(range(416, 464)) | set(range(472, 512))
    # MPX's place, and what lies between PKRU (2688+8) and XTILE_CFG (2752).
    gaps = set(range(832, 1088)) | set(range(2696, 2752))
    assert changed(Malformation.PADDING) == legacy | gaps


def test_st_padding_follows_each_register():
    registers = {32 + 16 * st + byte for st in range(8) for byte in range(10, 16)}
    assert changed(Malformation.ST_PADDING) == registers | {5}


def test_absent_components_have_content_without_their_bits():
    seen = odd(Malformation.ABSENT, bv=0x3)
    assert (xstate_bv(seen), seen[576:832]) == (0x3, content(2, AMX_LAYOUT))


def test_present_components_can_be_init():
    seen = odd(Malformation.INIT)
    assert (seen[:2], mxcsr(seen), any(seen[32:416] + seen[576:])) == (b"\x7f\x03", 0x1F80, False)


@pytest.mark.parametrize("nr", [0, 1, 2, 5, 6, 7, 9, 18])
def test_random_content_depends_on_its_seed_alone(nr):
    one, same, other = (random_content(nr, seed, AMX_LAYOUT) for seed in (1, 1, 2))
    assert one == same != other


def test_random_x87_keeps_what_a_cpu_may_rewrite():
    # FCW 0x27f masks all exceptions; none is pending; FOP, FIP, FDP and padding are zero.
    drawn = random_content(0, 1, AMX_LAYOUT)
    assert struct.unpack_from("<HH", drawn) == (0x27F, 0)
    assert not any(drawn[5:24])
    assert not any(any(drawn[24 + 16 * st + 10 : 40 + 16 * st]) for st in range(8))


def test_random_pkru_has_32_bits():
    assert random_content(9, 1, AMX_LAYOUT)[4:] == bytes(4)


def test_random_content_has_a_valid_tile_configuration():
    assert random_content(17, 1, AMX_LAYOUT) == content(17, AMX_LAYOUT)
