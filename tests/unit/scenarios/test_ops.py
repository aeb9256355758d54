"""What each op asks: bytes as asm/kvm.h lays them out."""

import struct

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.calls import ArchPrctl, Captured, Immediate, Ioctl, MapMemory, RunVcpu
from kvmprobe.scenarios.ops import decode
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.cpuid import CheckXsave2, GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt
from kvmprobe.scenarios.ops.msrs import GetXfd, SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from tests.support.hosts import AMX_HOST, AVX512_HOST, B18, xstate_bv


def lowered(op_value, host=AMX_HOST):
    return op_value.lower(host)


def test_permission_is_asked_by_number_not_by_bitmap():
    # xstate.rst: REQ_* take a feature number; ARCH_REQ_XCOMP_GUEST_PERM is 0x1025.
    assert lowered(RequestGuestPermission(18)) == ArchPrctl(0x1025, Immediate(18))


def test_set_xfd_is_one_entry_for_msr_1c4():
    expected = struct.pack("<IIIIQ", 1, 0, 0x1C4, 0, B18)
    assert lowered(SetXfd(B18)).argument.content == expected


def test_get_xfd_asks_for_1c4_and_1c5():
    expected = struct.pack("<IIIIQIIQ", 2, 0, 0x1C4, 0, 0, 0x1C5, 0, 0)
    assert lowered(GetXfd()).argument.head == expected


def test_get_xfd_reads_both_values():
    output = struct.pack("<IIIIQIIQ", 2, 0, 0x1C4, 0, 7, 0x1C5, 0, 9)
    assert GetXfd().read(output) == {"XFD": 7, "XFD_ERR": 9}


def test_set_xcrs_is_one_entry_for_xcr0():
    content = lowered(SetXcrs(0x602E7)).argument.content
    assert content == struct.pack("<IIIIQ", 1, 0, 0, 0, 0x602E7).ljust(392, b"\0")


def test_get_xcrs_reads_the_first_entry():
    output = struct.pack("<IIIIQ", 1, 0, 0, 0, 0x60003).ljust(392, b"\0")
    assert GetXcrs().read(output) == {"XCR0": 0x60003}


def test_set_xsave_sends_the_largest_image_of_the_host():
    assert len(lowered(SetXsave(0x3)).argument.content) == 11008


def test_set_xsave_sends_4096_bytes_on_a_host_without_tiles():
    assert len(lowered(SetXsave(0x3), AVX512_HOST).argument.content) == 4096


def test_set_xsave_has_the_asked_components_in_its_header():
    assert xstate_bv(lowered(SetXsave(0x60007)).argument.content) == 0x60007


def test_get_xsave2_offers_more_room_than_the_kernel_may_use():
    assert lowered(GetXsave2()).argument.size > 11008


def test_get_supported_cpuid_has_room_for_256_entries():
    # contract section 4: KVM_MAX_CPUID_ENTRIES
    argument = lowered(GetSupportedCpuid()).argument
    assert (argument.head, argument.size) == (struct.pack("<II", 256, 0), 8 + 256 * 40)


def test_get_supported_cpuid_reads_leaf_d():
    output = struct.pack("<II7I12x", 1, 0, 0xD, 0, 1, 0x2E7, 0, 2696, 0)
    expected = {"0xD.0:EDX:EAX": 0x2E7, "0xD.0:ECX": 2696}
    assert GetSupportedCpuid().read(output) == expected


def test_set_cpuid2_feeds_the_kernels_own_table_back():
    captured = lowered(GetSupportedCpuid()).argument.capture
    assert lowered(SetCpuid2()).argument == Captured(captured)


def test_check_xsave2_asks_the_vm_for_capability_208():
    assert lowered(CheckXsave2()) == Ioctl(0xAE03, "vm", Immediate(208))


def test_the_vm_that_is_created_is_the_one_the_vcpu_is_created_on():
    assert lowered(CreateVcpu()).on == lowered(CreateVm()).binds


def test_hlt_lies_at_the_reset_vector():
    # SDM vol.3 11.1.4: the first instruction is fetched from FFFFFFF0H; HLT is F4, JMP rel8 EB.
    call = lowered(MapHalt())
    assert isinstance(call, MapMemory)
    assert call.content[0xFFFFFFF0 - call.guest_address :] == b"\xf4\xeb\xfd"


def test_the_two_runs_differ_in_immediate_exit():
    calls = [lowered(RunUntilHalt()), lowered(RunImmediateExit())]
    assert calls == [RunVcpu("vcpu0", 0), RunVcpu("vcpu0", 1)]


def test_the_exit_reason_is_read_from_the_output():
    assert RunUntilHalt().read(b"\x11\0\0\0") == {"exit_reason": 17}


@pytest.mark.parametrize(
    ("op_value", "text"),
    [
        (RequestGuestPermission(18), "ARCH_REQ_XCOMP_GUEST_PERM(18)"),
        (SetXfd(B18), "KVM_SET_MSRS IA32_XFD=0x40000 (XTILE_DATA)"),
        (SetXcrs(0x3), "KVM_SET_XCRS XCR0=0x3 (FP|SSE)"),
        (SetXsave(0), "KVM_SET_XSAVE XSTATE_BV=0"),
        (SetCpuid2(), "KVM_SET_CPUID2(supported)"),
        (GetXsave2(), "KVM_GET_XSAVE2"),
    ],
    ids=str,
)
def test_text_names_the_call_and_its_argument(op_value, text):
    assert op_value.text == text


def test_an_unknown_op_is_refused_with_the_known_ones():
    with pytest.raises(ScenarioError, match=r"unknown op 'fork'; known: .*set-xfd"):
        decode({"op": "fork"})


def test_an_op_without_its_field_is_refused():
    with pytest.raises(ScenarioError, match="op set-xfd"):
        decode({"op": "set-xfd"})


def test_an_op_with_a_foreign_field_is_refused():
    with pytest.raises(ScenarioError, match="op get-xfd"):
        decode({"op": "get-xfd", "xfd": 1})


def test_two_ops_cannot_have_one_name():
    with pytest.raises(ScenarioError, match="two ops are named set-xfd"):
        op("set-xfd", "KVM_SET_MSRS")(SetXfd)
