import struct

import pytest

from kvmprobe.xstate import patterns
from kvmprobe.xstate.image import decode, init_content
from kvmprobe.xstate.layout import Component, Layout
from tests.support.hosts import AMX_LAYOUT, mxcsr, xstate_bv

COMPONENTS = (0, 1, 2, 5, 6, 7, 9, 17, 18)


@pytest.mark.parametrize("nr", COMPONENTS)
def test_pattern_is_not_init(nr):
    assert patterns.content(nr, AMX_LAYOUT) != init_content(nr, AMX_LAYOUT)


@pytest.mark.parametrize("nr", COMPONENTS)
def test_pattern_fills_its_component(nr):
    assert len(patterns.content(nr, AMX_LAYOUT)) == len(init_content(nr, AMX_LAYOUT))


def test_no_two_components_share_a_pattern():
    assert len({patterns.content(nr, AMX_LAYOUT) for nr in COMPONENTS}) == len(COMPONENTS)


@pytest.mark.parametrize("nr", [1, 2, 5, 6, 7, 18])
def test_every_word_of_a_register_file_is_its_own(nr):
    content = patterns.content(nr, AMX_LAYOUT)
    words = struct.unpack(f"<{len(content) // 4}I", content)
    assert len(set(words) - {0}) == len(words)


def test_pkru_upper_half_is_zero():
    # PKRU is 32 bits wide: SDM vol.1 13.5.7.
    assert patterns.content(9, AMX_LAYOUT)[4:] == bytes(4)


def test_x87_pointers_are_zero():
    # SDM vol.1 table 10-2: FOP at 6, FIP at 8, FDP at 16; AMD need not save them.
    assert patterns.content(0, AMX_LAYOUT)[6:24] == bytes(18)


def test_padding_of_each_st_register_is_zero():
    # SDM vol.1 table 10-2: 10 bytes of register, 6 reserved.
    content = patterns.content(0, AMX_LAYOUT)
    assert all(content[24 + 16 * st + 10 : 40 + 16 * st] == bytes(6) for st in range(8))


def test_mxcsr_has_no_bit_outside_the_mask_of_any_sse_cpu():
    # SDM vol.1 11.6.6: the default mask is 0000FFBFH.
    assert not patterns.MXCSR_PATTERN & ~0xFFBF


def test_image_has_its_bitmap_in_the_header():
    assert xstate_bv(patterns.image(0x60000, AMX_LAYOUT, 11008, 0xFFFF)) == 0x60000


def test_image_carries_the_mxcsr_pattern():
    assert mxcsr(patterns.image(0, AMX_LAYOUT, 4096, 0xFFFF)) == 0x1FA0


def test_image_holds_nothing_outside_its_bitmap():
    fields = decode(patterns.image(0x60000, AMX_LAYOUT, 11008, 0xFFFF), AMX_LAYOUT)
    assert {nr for nr, content in fields.contents.items() if any(content)} == {17, 18}


def test_a_component_that_does_not_fit_is_zero():
    assert xstate_bv(patterns.image(0x60000, AMX_LAYOUT, 4096, 0xFFFF)) == 0x60000


def test_a_component_without_a_pattern_is_zero():
    image = patterns.image(1 << 3 | 1 << 63, AMX_LAYOUT, 4096, 0xFFFF)
    assert not any(image[576:])


def test_a_component_of_unknown_form_has_no_pattern():
    with pytest.raises(ValueError, match="PASID"):
        patterns.content(10, Layout((Component(10, 576, 8),)))
