import errno
import struct

import pytest

from kvmprobe.judge.compare import compare
from kvmprobe.model.freedom import Freedom
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
from kvmprobe.results.difference import (
    BytesDiffer,
    ExitDiffers,
    HostSurvives,
    ResultDiffers,
    RunOfBytes,
    ValuesDiffer,
)
from kvmprobe.results.trace import Reply
from kvmprobe.scenarios.ops.guest_control import GuestXgetbv
from kvmprobe.scenarios.ops.lifecycle import CreateVm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.run import RunUntilHalt
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
    difference = against(NewDescriptor(), CreateVm(), -errno.ENOMEM)
    assert difference == ResultDiffers(None, -errno.ENOMEM)


def test_the_expected_errno_is_accepted():
    assert against(Failed(errno.EINVAL), SetXcrs(5), -22) is None


def msr_list_of(count):
    """struct kvm_msr_list without room: only the count."""
    return struct.pack("<I", count)


def test_a_failed_calls_output_is_compared_where_the_model_expects_something():
    outcome = Failed(errno.E2BIG, {"entries": 7})
    op = GetMsrIndexListShort(0)
    assert against(outcome, op, -errno.E2BIG, msr_list_of(7)) is None
    difference = against(outcome, op, -errno.E2BIG, msr_list_of(0))
    assert difference == ValuesDiffer({"entries": 7}, {"entries": 0})


def test_a_failed_calls_output_is_not_compared_where_the_model_expects_nothing():
    outcome = Failed(errno.E2BIG)
    assert against(outcome, GetMsrIndexListShort(0), -errno.E2BIG, msr_list_of(9)) is None


def test_another_errno_is_a_mismatch():
    assert against(Failed(errno.EINVAL), SetXcrs(5), -21) == ResultDiffers(-22, -21)


def test_success_instead_of_a_failure_is_a_mismatch():
    assert against(Failed(errno.EINVAL), SetXcrs(5), 0) == ResultDiffers(-22, 0)


def test_another_count_is_a_mismatch():
    assert against(Done(1), SetXfd(1 << 18), 0) == ResultDiffers(1, 0)


def test_another_value_in_the_output_is_a_mismatch():
    output = b"\1" + bytes(15) + b"\1" + bytes(375)
    difference = against(Done(fields={"XCR0": 7}), GetXcrs(), 0, output)
    assert difference == ValuesDiffer({"XCR0": 7}, {"XCR0": 1})


def test_surviving_a_fatal_load_is_a_mismatch():
    assert against(HostDies("boom"), GET, 0) == HostSurvives("boom", 0)


def test_each_choice_is_accepted():
    outcome = OneOf((Done(1), Done(2)), Freedom.PCIDE_AT_ENTRY)
    assert [against(outcome, GET, result) for result in (1, 2)] == [None, None]


def test_a_result_that_is_not_a_choice_is_a_mismatch():
    assert against(OneOf((Done(1), Done(2)), Freedom.PCIDE_AT_ENTRY), GET, 3) == ResultDiffers(1, 3)


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
    assert [run.where for run in mismatch.runs] == [where]


def test_a_difference_has_the_offset_and_both_contents():
    mismatch = image_against(flipped(577))
    assert mismatch.runs == (RunOfBytes("YMM", 577, 1, b"\x22", b"\xdd"),)


def test_one_byte_beyond_the_expected_extent_is_detected():
    mismatch = image_against(IMAGE, beyond=b"\0" + BEYOND[1:])
    assert (mismatch.runs, mismatch.size, mismatch.written) == ((), 11008, 11009)


def test_a_byte_far_beyond_the_extent_is_detected():
    mismatch = image_against(IMAGE, beyond=BEYOND[:-1] + b"\0")
    assert (mismatch.runs, mismatch.size, mismatch.written) == ((), 11008, 11072)


def test_an_image_that_ends_early_is_a_mismatch():
    # The canary is A5; an image has zeros there.
    expected = image(0)
    mismatch = image_against(expected[:4096].ljust(11008, b"\xa5"), expected=expected)
    assert "XTILE_DATA" in [run.where for run in mismatch.runs]


@pytest.mark.parametrize("value", [0x602E7, 0x602E3])
def test_an_unspecified_bit_is_accepted_either_way(value):
    observed = bytearray(IMAGE)
    observed[512:520] = value.to_bytes(8, "little")
    assert (
        image_against(observed, Unspecified(512, b"\4" + bytes(7), Freedom.PCIDE_AT_ENTRY)) is None
    )


def test_a_bit_beside_an_unspecified_one_is_compared():
    observed = bytearray(IMAGE)
    observed[512] = 0xE6
    mismatch = image_against(observed, Unspecified(512, b"\4" + bytes(7), Freedom.PCIDE_AT_ENTRY))
    assert mismatch.runs == (RunOfBytes("XSTATE_BV", 512, 1, b"\xe7", b"\xe6"),)


def test_an_unspecified_bit_is_not_listed_as_a_difference():
    observed = bytearray(IMAGE)
    observed[512], observed[576] = 0xE3, 0
    mismatch = image_against(observed, Unspecified(512, b"\4", Freedom.PCIDE_AT_ENTRY))
    assert [run.where for run in mismatch.runs] == ["YMM"]


def test_a_long_difference_is_cut():
    observed = bytearray(IMAGE)
    observed[576:832] = bytes(256)
    (run,) = image_against(observed).runs
    assert (run.size, run.observed) == (256, bytes(16))


def guest_output(**registers):
    """The payload's result block: u64s, the vector at 8, RAX at 32."""
    block = bytearray(128)
    for offset, value in {8: 0x100, 32: registers.get("rax", 0)}.items():
        struct.pack_into("<Q", block, offset, value)
    return bytes(block)


@pytest.mark.parametrize("rax", [0b001, 0b011])
def test_an_unspecified_bit_of_a_field_is_not_compared(rax):
    outcome = Done(fields={"rax": 1}, open_fields={"rax": 0b010})
    assert against(outcome, GuestXgetbv(1), 0, guest_output(rax=rax)) is None


def test_the_other_bits_of_a_field_are_compared():
    outcome = Done(fields={"vector": 0x100, "rax": 1}, open_fields={"rax": 0b010})
    difference = against(outcome, GuestXgetbv(1), 0, guest_output(rax=0b101))
    assert difference == ValuesDiffer({"vector": 0x100, "rax": 1}, {"vector": 0x100, "rax": 5})


def memory_against(content, *unspecified):
    outcome = Done(memory=ExpectedBytes(128, b"\x01\x02\x03", unspecified))
    return against(outcome, GuestXgetbv(), 0, guest_output() + content)


@pytest.mark.parametrize("content", [b"\x01\x02\x03", b"\x01\x02\x03\xff"])
def test_memory_is_compared_from_its_offset_for_its_size(content):
    assert memory_against(content) is None


@pytest.mark.parametrize("content", [b"\x01\x02\x04", b"\x01\x02"])
def test_a_memory_difference_starts_at_the_first_differing_or_missing_byte(content):
    assert memory_against(content) == BytesDiffer(2, b"\x03", content[2:])


def test_an_unspecified_bit_of_memory_is_not_compared():
    assert memory_against(b"\x01\x0a\x03", Unspecified(1, b"\x08", Freedom.PCIDE_AT_ENTRY)) is None


def test_an_exit_before_the_guests_answer_is_not_a_result():
    # linux/kvm.h: KVM_EXIT_INTERNAL_ERROR 17; KVM_RUN itself returned 0
    assert against(Done(), GuestXgetbv(0), 17, guest_output()) == ExitDiffers(0, 17)


def test_a_failed_entry_includes_the_hardware_reason():
    # linux/kvm.h: KVM_EXIT_FAIL_ENTRY 9; SDM vol.3 appendix C: 80000021H, invalid guest state
    output = (0x8000_0021).to_bytes(8, "little") + bytes(120)
    assert against(Done(), GuestXgetbv(0), 9, output) == ExitDiffers(0, 9, 0x8000_0021)


def test_a_guests_answer_instead_of_a_failing_kvm_run_is_a_result():
    assert against(Failed(errno.EINTR), GuestXgetbv(0), 0) == ResultDiffers(-errno.EINTR, 0)


def run_output(reason, failure=0):
    """struct kvm_run from exit_reason on: the union of the exits begins at byte 24 of it."""
    return struct.pack("<I20xQ", reason, failure)


def test_a_difference_of_exits_includes_the_hardware_reason():
    # linux/kvm.h: KVM_EXIT_HLT 5, KVM_EXIT_FAIL_ENTRY 9
    outcome = Done(fields={"exit_reason": 5})
    difference = against(outcome, RunUntilHalt(), 0, run_output(9, 0x8000_0021))
    observed = {"exit_reason": 9, "hardware_entry_failure_reason": 0x8000_0021}
    assert difference == ValuesDiffer({"exit_reason": 5}, observed)


def test_only_a_failed_entry_has_a_hardware_reason():
    # The same bytes are another exit's: linux/kvm.h, the union of struct kvm_run
    outcome = Done(fields={"exit_reason": 5})
    difference = against(outcome, RunUntilHalt(), 0, run_output(8, 7))
    assert difference == ValuesDiffer({"exit_reason": 5}, {"exit_reason": 8})
