import errno
import struct

import pytest

from kvmprobe.judge.compare import compare, fields_text, returned
from kvmprobe.model.outcome import (
    Done,
    ExpectedBytes,
    ExpectedImage,
    Failed,
    HostDies,
    NewDescriptor,
    OneOf,
    Unspecified,
)
from kvmprobe.results.trace import Reply
from kvmprobe.scenarios.ops.guest_control import GuestXgetbv
from kvmprobe.scenarios.ops.lifecycle import CreateVm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.system import GetMsrIndexListShort
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2
from tests.support.hosts import AMX_HOST, image

GET = GetXsave2()
BEYOND = b"\xa5" * 64
IMAGE = image(0x602E7, {18: b"\x18" * 8192, 2: b"\x22" * 256})


def against(outcome, op, result, output=None):
    return compare(outcome, op, Reply(result, output), AMX_HOST)


def image_against(observed, *unspecified, expected=IMAGE, beyond=BEYOND):
    outcome = Done(image=ExpectedImage(expected, unspecified))
    return against(outcome, GET, 0, bytes(observed) + beyond)


def flipped(offset):
    changed = bytearray(IMAGE)
    changed[offset] ^= 0xFF
    return changed


@pytest.mark.parametrize("fd", [0, 3, 1023])
def test_any_descriptor_is_as_good_as_another(fd):
    assert against(NewDescriptor(), CreateVm(), fd) is None


def test_a_missing_descriptor_is_named():
    mismatch = against(NewDescriptor(), CreateVm(), -errno.ENOMEM)
    assert (mismatch.expected, mismatch.observed) == ("a descriptor", "-ENOMEM (12)")


def test_the_expected_errno_is_accepted():
    assert against(Failed(errno.EINVAL), SetXcrs(5), -22) is None


def msr_list_of(count):
    """struct kvm_msr_list without room: only the count."""
    return struct.pack("<I", count)


def test_a_failed_calls_output_is_compared_where_the_model_expects_something():
    outcome = Failed(errno.E2BIG, {"entries": 7})
    op = GetMsrIndexListShort(0)
    assert against(outcome, op, -errno.E2BIG, msr_list_of(7)) is None
    mismatch = against(outcome, op, -errno.E2BIG, msr_list_of(0))
    assert (mismatch.expected, mismatch.observed) == ("entries=7", "entries=0")


def test_a_failed_calls_output_is_not_compared_where_the_model_expects_nothing():
    outcome = Failed(errno.E2BIG)
    assert against(outcome, GetMsrIndexListShort(0), -errno.E2BIG, msr_list_of(9)) is None


def test_another_errno_is_a_mismatch():
    mismatch = against(Failed(errno.EINVAL), SetXcrs(5), -21)
    assert (mismatch.expected, mismatch.observed) == ("-EINVAL (22)", "-EISDIR (21)")


def test_success_where_failure_is_expected_is_a_mismatch():
    mismatch = against(Failed(errno.EINVAL), SetXcrs(5), 0)
    assert (mismatch.expected, mismatch.observed) == ("-EINVAL (22)", "returns 0")


def test_another_count_is_a_mismatch():
    mismatch = against(Done(1), SetXfd(1 << 18), 0)
    assert (mismatch.expected, mismatch.observed) == ("returns 1", "returns 0")


def test_another_value_in_the_output_is_a_mismatch_with_its_components():
    output = b"\1" + bytes(15) + b"\1" + bytes(375)
    mismatch = against(Done(fields={"XCR0": 7}), GetXcrs(), 0, output)
    assert (mismatch.expected, mismatch.observed) == ("XCR0=0x7 (FP|SSE|YMM)", "XCR0=0x1 (FP)")


def test_survival_of_a_fatal_load_is_a_mismatch():
    assert against(HostDies("boom"), GET, 0).expected == "the host dies (boom)"


def test_each_choice_is_accepted():
    outcome = OneOf((Done(1), Done(2)), "open")
    assert [against(outcome, GET, result) for result in (1, 2)] == [None, None]


def test_what_is_no_choice_is_a_mismatch():
    assert against(OneOf((Done(1), Done(2)), "open"), GET, 3).expected == "returns 1"


def test_the_same_image_is_accepted():
    assert image_against(IMAGE) is None


@pytest.mark.parametrize(
    ("offset", "where"),
    [
        (0, "FP (environment)"),
        (24, "MXCSR"),
        (28, "MXCSR_MASK"),
        (159, "FP (ST registers)"),
        (160, "SSE (XMM)"),
        (415, "SSE (XMM)"),
        (463, "padding from 416"),
        (471, "software word"),
        (512, "XSTATE_BV"),
        (527, "XCOMP_BV"),
        (575, "reserved header"),
        (576, "YMM"),
        (831, "YMM"),
        (832, "padding from 832"),
        (1088, "OPMASK"),
        (1663, "ZMM_HI256"),
        (1664, "HI16_ZMM"),
        (2687, "HI16_ZMM"),
        (2688, "PKRU"),
        (2695, "PKRU"),
        (2752, "XTILE_CFG"),
        (2815, "XTILE_CFG"),
        (2816, "XTILE_DATA"),
        (11007, "XTILE_DATA"),
    ],
)
def test_one_flipped_byte_is_named_by_its_component(offset, where):
    mismatch = image_against(flipped(offset))
    assert [d.partition(",")[0] for d in mismatch.details] == [where]


def test_a_detail_has_the_place_and_both_contents():
    mismatch = image_against(flipped(577))
    assert mismatch.details == ("YMM, bytes 577-577: expected 22, observed dd",)


def test_one_byte_beyond_the_expected_extent_is_detected():
    mismatch = image_against(IMAGE, beyond=b"\0" + BEYOND[1:])
    assert mismatch.details == ("extent: 11008 bytes expected, 11009 written",)


def test_a_byte_far_beyond_the_extent_is_detected():
    mismatch = image_against(IMAGE, beyond=BEYOND[:-1] + b"\0")
    assert mismatch.details == ("extent: 11008 bytes expected, 11072 written",)


def test_a_kernel_that_stops_short_is_detected():
    # The canary is A5; an image has zeros there.
    expected = image(0)
    mismatch = image_against(expected[:4096].ljust(11008, b"\xa5"), expected=expected)
    assert "XTILE_DATA" in " ".join(mismatch.details)


@pytest.mark.parametrize("value", [0x602E7, 0x602E3])
def test_an_unspecified_bit_is_accepted_either_way(value):
    observed = bytearray(IMAGE)
    observed[512:520] = value.to_bytes(8, "little")
    assert image_against(observed, Unspecified(512, b"\4" + bytes(7), "open")) is None


def test_a_bit_beside_an_unspecified_one_is_compared():
    observed = bytearray(IMAGE)
    observed[512] = 0xE6
    mismatch = image_against(observed, Unspecified(512, b"\4" + bytes(7), "open"))
    assert mismatch.details == ("XSTATE_BV, bytes 512-512: expected e7, observed e6",)


def test_an_unspecified_bit_does_not_show_as_a_difference():
    observed = bytearray(IMAGE)
    observed[512], observed[576] = 0xE3, 0
    mismatch = image_against(observed, Unspecified(512, b"\4", "open"))
    assert [d.partition(",")[0] for d in mismatch.details] == ["YMM"]


def test_a_long_difference_is_cut():
    observed = bytearray(IMAGE)
    observed[576:832] = bytes(256)
    (detail,) = image_against(observed).details
    assert detail.endswith("observed 00000000 00000000 00000000 00000000 ...")


@pytest.mark.parametrize(
    ("result", "text"), [(0, "returns 0"), (5, "returns 5"), (-95, "-EOPNOTSUPP (95)")]
)
def test_results_are_told_by_name(result, text):
    assert returned(result).replace("ENOTSUP ", "EOPNOTSUPP ") == text


def test_bitmaps_are_told_by_component_and_exits_by_name():
    # linux/kvm.h: KVM_EXIT_HLT is 5
    fields = {"XFD": 0x40000, "exit_reason": 5}
    assert fields_text(fields) == "XFD=0x40000 (XTILE_DATA), exit_reason=KVM_EXIT_HLT"


def test_numbers_that_are_neither_are_told_as_they_are():
    assert fields_text({"0xD.0:ECX": 2696}) == "0xD.0:ECX=2696"


def test_msrs_are_shown_as_the_manuals_write_them():
    # SDM vol.3 table 12-12 "Memory Type Setting of PAT Entries Following a Power-up or Reset";
    # vol.1 §13.1: state component 11 is CET user state
    shown = fields_text({"PAT": 0x0007_0406_0007_0406, "XSS": 1 << 11})
    assert shown == "PAT=0x7040600070406, XSS=0x800 (CET_USER)"


def test_a_control_word_is_shown_as_the_manuals_write_it():
    # SDM vol.1 §8.1.5 "x87 FPU Control Word": 037FH after initialisation
    assert fields_text({"FCW": 895}) == "FCW=0x37f"


def guest_output(**registers):
    """The payload's result block: u64s, the vector at 8, RAX at 32."""
    block = bytearray(128)
    for offset, value in {8: 0x100, 32: registers.get("rax", 0)}.items():
        struct.pack_into("<Q", block, offset, value)
    return bytes(block)


@pytest.mark.parametrize("rax", [0b001, 0b011])
def test_an_open_bit_of_a_field_is_not_compared(rax):
    outcome = Done(fields={"rax": 1}, open_fields={"rax": 0b010})
    assert against(outcome, GuestXgetbv(1), 0, guest_output(rax=rax)) is None


def test_the_bits_beside_it_are():
    outcome = Done(fields={"vector": 0x100, "rax": 1}, open_fields={"rax": 0b010})
    mismatch = against(outcome, GuestXgetbv(1), 0, guest_output(rax=0b101))
    assert (mismatch.expected, mismatch.observed) == (
        "vector=none, rax=0x1",
        "vector=none, rax=0x5",
    )


def memory_against(content, *unspecified):
    outcome = Done(memory=ExpectedBytes(128, b"\x01\x02\x03", unspecified))
    return against(outcome, GuestXgetbv(), 0, guest_output() + content)


@pytest.mark.parametrize("content", [b"\x01\x02\x03", b"\x01\x02\x03\xff"])
def test_memory_is_compared_from_its_offset_for_its_size(content):
    assert memory_against(content) is None


@pytest.mark.parametrize("content", [b"\x01\x02\x04", b"\x01\x02"])
def test_memory_that_differs_or_lacks_is_told_from_the_first_byte_on(content):
    assert memory_against(content).expected == "memory from byte 2: 03"


def test_an_unspecified_bit_of_memory_is_not_compared():
    assert memory_against(b"\x01\x0a\x03", Unspecified(1, b"\x08", "open")) is None
