"""What ops on MSRs, XCRS, SREGS and other state ask: bytes as asm/kvm.h lays them out."""

import struct

import pytest

from kvmprobe.scenarios.calls import Captured, OutputBehind, SleepingLiteral
from kvmprobe.scenarios.ops.lifecycle import MapOut
from kvmprobe.scenarios.ops.msrs import (
    AccessCetMsr,
    GetListedMsrs,
    GetMsrs,
    RestoreListedMsrs,
    SetMsrs,
    SetXfdAsleep,
)
from kvmprobe.scenarios.ops.one_reg import GetOneReg, GetRegList, SetOneReg
from kvmprobe.scenarios.ops.sregs import GetSregs, GetSregs2, SetSregs, SetSregs2
from kvmprobe.scenarios.ops.vcpu_state import (
    GetDebugregs,
    GetRegs,
    SetDebugregs,
    SetRegs,
    SetVcpuEvents,
)
from kvmprobe.scenarios.ops.xcrs import SetXcrsList
from tests.support.hosts import AMX_HOST, AVX512_HOST, B18


def argument(op_value, host=AMX_HOST):
    return op_value.lower(host).argument


def test_a_list_of_msrs_may_name_one_twice():
    expected = struct.pack("<II", 2, 0) + 2 * struct.pack("<IIQ", 0x277, 0, 5)
    assert argument(SetMsrs(((0x277, 5), (0x277, 5)))).content == expected


def test_an_empty_list_is_a_head_alone():
    assert argument(SetMsrs(())).content == bytes(8)


def test_values_are_read_by_their_msrs_names():
    output = struct.pack("<IIIIQIIQ", 2, 0, 0x277, 0, 7, 0x40004000, 0, 9)
    assert GetMsrs((0x277, 0x40004000)).read(output) == {"PAT": 7, "MSR 0x40004000": 9}


def test_a_long_list_shows_as_its_length():
    assert SetMsrs(((0x174, 0),) * 255).text == "KVM_SET_MSRS(255 entries)"


def test_a_short_list_shows_its_msrs():
    assert SetMsrs(((0x1C4, B18), (0x277, 1))).text == "KVM_SET_MSRS(XFD=0x40000, PAT=0x1)"


def test_xfd_asleep_comes_from_a_page_that_is_not_there():
    expected = struct.pack("<IIIIQ", 1, 0, 0x1C4, 0, B18)
    assert argument(SetXfdAsleep(B18)) == SleepingLiteral(expected)


def test_all_listed_msrs_are_asked_for_in_ascending_order():
    # sapphire_rapids() lists XFD and XFD_ERR.
    expected = struct.pack("<IIIIQIIQ", 2, 0, 0x1C4, 0, 0, 0x1C5, 0, 0)
    assert argument(GetListedMsrs()).head == expected


def test_what_was_kept_of_them_is_restored_with_another_xfd():
    kept = argument(GetListedMsrs()).capture
    expected = Captured(kept, ((16, struct.pack("<Q", B18)),))
    assert argument(RestoreListedMsrs(B18)) == expected


def test_where_xfd_is_not_listed_nothing_is_patched():
    assert argument(RestoreListedMsrs(0), AVX512_HOST).patches == ()


def test_u_cet_is_msr_6a0():
    # SDM vol.4 table 2-2
    assert argument(AccessCetMsr()).head == struct.pack("<IIIIQ", 1, 0, 0x6A0, 0, 0)


def test_entries_beyond_the_16th_lie_in_the_padding():
    content = argument(SetXcrsList(((0, 3),) * 17)).content
    assert (len(content), content[:4], content[264:280]) == (
        392,
        b"\x11\0\0\0",
        struct.pack("<IIQ", 0, 0, 3),
    )


def test_flags_of_xcrs_are_the_second_word():
    assert argument(SetXcrsList((), flags=1)).content[:8] == struct.pack("<II", 0, 1)


@pytest.mark.parametrize(
    ("get", "put", "size"),
    [(GetSregs(), SetSregs(1 << 18), 312), (GetSregs2(), SetSregs2(1 << 18), 320)],
    ids=["sregs", "sregs2"],
)
def test_sregs_go_back_as_they_came_but_for_cr4(get, put, size):
    # asm/kvm.h: cr4 is the fourth word behind 8 segments of 24 bytes and 2 tables of 16.
    output = argument(get)
    cr4 = 8 * 24 + 2 * 16 + 3 * 8
    assert output.size == size
    assert argument(put) == Captured(output.capture, ((cr4, struct.pack("<Q", 1 << 18)),))


def test_sregs_read_cs_and_cr0():
    # struct kvm_segment: base 8 bytes, limit 4, selector 2
    output = bytearray(312)
    struct.pack_into("<QIH", output, 0, 0xFFFF0000, 0xFFFF, 0xF000)
    struct.pack_into("<Q", output, 224, 0x60000010)
    got = GetSregs().read(bytes(output))
    assert (got["cs_base"], got["cs_selector"], got["cr0"]) == (0xFFFF0000, 0xF000, 0x60000010)


def test_registers_go_back_as_they_came_but_for_rbx():
    assert argument(SetRegs(7)) == Captured(
        argument(GetRegs()).capture, ((8, struct.pack("<Q", 7)),)
    )


def test_rip_and_rflags_are_the_last_of_18_registers():
    output = bytes(16 * 8) + struct.pack("<QQ", 0xFFF0, 2)
    got = GetRegs().read(output)
    assert (got["rip"], got["rflags"], got["r15"]) == (0xFFF0, 2, 0)


def test_debug_registers_have_their_flags_behind_dr7():
    # asm/kvm.h: struct kvm_debugregs: db[4], dr6, dr7, flags
    expected = ((0, 5), (32, 6), (40, 7), (48, 1))
    patches = argument(SetDebugregs(5, flags=1, dr6=6, dr7=7)).patches
    assert patches == tuple((offset, struct.pack("<Q", value)) for offset, value in expected)


def test_dr7_is_the_sixth_word():
    output = struct.pack("<16Q", *range(16))
    assert GetDebugregs().read(output)["dr7"] == 5


def test_events_go_back_as_they_came():
    # asm/kvm.h: flags at 20: NMI_PENDING, SHADOW, SMM, as GET says
    assert argument(SetVcpuEvents()).patches == ((20, struct.pack("<I", 1 | 4 | 8)),)


def test_out_lies_at_the_reset_vector():
    # SDM vol.2 OUT: E6 ib
    assert MapOut().lower(AMX_HOST).content[0xFF0:] == b"\xe6\x80"


def test_a_register_is_read_behind_its_id_and_address():
    # asm/kvm.h: struct kvm_one_reg
    assert argument(GetOneReg(5)) == OutputBehind(struct.pack("<QQ", 5, 0), 8, 8)
    assert GetOneReg(5).read(struct.pack("<QQQ", 5, 0, 9)) == {"value": 9}


def test_a_registers_value_lies_behind_its_id_and_address():
    expected = OutputBehind(struct.pack("<QQ", 5, 0), 8, 8, struct.pack("<Q", 9))
    assert argument(SetOneReg(5, 9)) == expected


def test_the_list_of_registers_has_room_for_so_many():
    output = argument(GetRegList(3))
    assert (output.size, output.head) == (8 + 3 * 8, struct.pack("<Q", 3))
