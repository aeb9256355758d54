from kvmprobe.xstate.diff import Difference, DifferingRegion, differences, differing_regions
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


def test_a_region_has_its_place_and_what_differs_in_it():
    found = differing_regions(bytes(11008), changed(580, 700), AMX_LAYOUT)
    assert found == (DifferingRegion("YMM", 576, 256, ((580, 1), (700, 1))),)


def test_few_equal_bytes_do_not_part_a_run():
    found = differing_regions(bytes(11008), changed(600, 608, 617), AMX_LAYOUT)
    assert found[0].runs == ((600, 9), (617, 1))


def test_a_run_ends_with_its_region():
    found = differing_regions(bytes(11008), changed(2815, 2816), AMX_LAYOUT)
    assert [(r.name, r.runs) for r in found] == [
        ("XTILE_CFG", ((2815, 1),)),
        ("XTILE_DATA", ((2816, 1),)),
    ]


def test_padding_reaches_to_what_follows_it():
    # YMM ends at 832, OPMASK begins at 1088.
    (found,) = differing_regions(bytes(11008), changed(900), AMX_LAYOUT)
    assert (found.name, found.offset, found.size) == ("padding from 832", 832, 256)


def test_the_last_padding_reaches_to_the_end_of_the_image():
    # XTILE_DATA ends at 11008.
    size = 11100
    (found,) = differing_regions(bytes(size), changed(11050, size=size), AMX_LAYOUT)
    assert (found.name, found.offset, found.size) == ("padding from 11008", 11008, 92)
