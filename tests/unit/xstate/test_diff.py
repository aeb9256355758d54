from kvmprobe.xstate.diff import Difference, differences
from tests.support.hosts import AMX_LAYOUT


def changed(*offsets, size=11008):
    image = bytearray(size)
    for offset in offsets:
        image[offset] = 0x11
    return bytes(image)


def test_equal_images_differ_nowhere():
    assert differences(bytes(11008), bytes(11008), AMX_LAYOUT) == ()


def test_one_byte_is_one_difference():
    expected = Difference("OPMASK", 1090, b"\0", b"\x11")
    assert differences(bytes(4096), changed(1090, size=4096), AMX_LAYOUT) == (expected,)


def test_a_difference_spans_from_the_first_to_the_last_byte_of_its_component():
    expected = Difference("YMM", 580, bytes(5), b"\x11\0\0\0\x11")
    assert differences(bytes(11008), changed(580, 584), AMX_LAYOUT) == (expected,)


def test_each_component_has_its_own_entry_in_order_of_offset():
    found = differences(bytes(11008), changed(11007, 576, 514), AMX_LAYOUT)
    assert [d.where for d in found] == ["XSTATE_BV", "YMM", "XTILE_DATA"]
