import pytest

from kvmprobe.errors import LayoutError
from kvmprobe.xstate.layout import Component, Layout
from tests.support.hosts import AMX_LAYOUT


@pytest.mark.parametrize(
    ("bitmap", "size"),
    [
        (0x0, 576),  # SDM vol.1 13.4: 512 legacy + 64 header
        (0x3, 576),
        (0x7, 832),  # 576 + 256
        (0xE7, 2688),  # 1664 + 1024
        (0x2E7, 2696),  # PKRU ends at 2688 + 8
        (0x202E7, 2816),  # XTILECFG ends at 2752 + 64
        (0x602E7, 11008),  # XTILEDATA ends at 2816 + 8192
        (0x40000, 11008),  # the standard format keeps the room of what is absent
    ],
)
def test_standard_size_is_the_end_of_the_last_component(bitmap, size):
    assert AMX_LAYOUT.size(bitmap) == size


def test_size_of_a_component_without_a_place_is_an_error():
    with pytest.raises(LayoutError, match="PASID"):
        AMX_LAYOUT.size(1 << 10)


def test_bitmap_includes_fp_and_sse():
    assert AMX_LAYOUT.bitmap == 0x602E7


def test_overlapping_components_are_refused():
    with pytest.raises(LayoutError, match="component 5 at 800"):
        Layout.of([Component(2, 576, 256), Component(5, 800, 64)])


def test_a_component_within_the_header_is_refused():
    with pytest.raises(LayoutError, match="overlaps the header or component that ends at 576"):
        Layout.of([Component(2, 560, 256)])


def test_an_empty_component_is_refused():
    with pytest.raises(LayoutError):
        Layout.of([Component(2, 576, 0)])


def test_order_by_number_may_differ_from_order_by_offset():
    # APX (19) lies where MPX was: SDM vol.1 13.4, Linux 6.16.
    apx, ymm, opmask = Component(19, 960, 128), Component(2, 576, 256), Component(5, 1088, 64)
    assert Layout.of([apx, opmask, ymm]).components == (ymm, opmask, apx)


@pytest.mark.parametrize(
    ("offset", "name"),
    [
        (0, "FP (environment)"),
        (23, "FP (environment)"),
        (24, "MXCSR"),
        (28, "MXCSR_MASK"),
        (32, "FP (ST registers)"),
        (159, "FP (ST registers)"),
        (160, "SSE (XMM)"),
        (415, "SSE (XMM)"),
        (416, "padding from 416"),
        (464, "software word"),
        (512, "XSTATE_BV"),
        (520, "XCOMP_BV"),
        (528, "reserved header"),
        (575, "reserved header"),
        (576, "YMM"),
        (831, "YMM"),
        (832, "padding from 832"),
        (1088, "OPMASK"),
        (1152, "ZMM_HI256"),
        (1664, "HI16_ZMM"),
        (2688, "PKRU"),
        (2696, "padding from 2696"),
        (2752, "XTILE_CFG"),
        (2816, "XTILE_DATA"),
        (11007, "XTILE_DATA"),
        (11008, "padding from 11008"),
    ],
)
def test_each_byte_has_the_name_of_its_field(offset, name):
    # SDM vol.1 table 10-2 "Format of an FXSAVE Area" and 13.4.2 "XSAVE Header"
    assert AMX_LAYOUT.name_of(offset) == name


def test_a_component_without_a_name_is_named_by_number():
    assert Layout.of([Component(40, 576, 64)]).name_of(600) == "component 40"
