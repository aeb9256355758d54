"""kernel contract section 4: KVM_SET_CPUID2, KVM_SET_CPUID, KVM_GET_CPUID2."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from kvmprobe.abi.numbers import Msr
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.cpuid import get_supported
from kvmprobe.model.guest_cpuid import get_cpuid2, set_cpuid2
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.msr import get_msrs, set_msrs
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.permission import request_guest_permission
from kvmprobe.model.process import fork, share_memory
from kvmprobe.model.run import run_immediate_exit, run_until_halt
from kvmprobe.model.uabi import get_xsave2, set_xsave
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable, Register
from tests.support.hosts import (
    AMX_HOST,
    AVX512_HOST,
    VCPU,
    amx_vcpu,
    cet_host,
    image,
    machine_with_vcpu,
    set_cpuid,
    with_behaviours,
    with_fields,
    xstate_bv,
)

XMM = b"\x77" * 256
FULL = AMX_HOST.supported
PLAIN = AVX512_HOST.supported
ZERO = CpuidEntry(0, 0, 0, 0, 0, 0, 0)


def exported(machine):
    return get_xsave2(machine, VCPU).outcome.image.image


def given(machine, table, by=""):
    return set_cpuid2(machine, VCPU, GuestCpuid.of(table), by)


def read(machine, room=256):
    return get_cpuid2(machine, VCPU, "t", room).outcome


def holding(table, host=AMX_HOST, **vcpu):
    """A vCPU with a table and some registers."""
    machine = given(machine_with_vcpu(host, granted=True), table).machine
    return with_fields(machine, **vcpu)


def ran(table):
    return run_until_halt(holding(table), VCPU).machine


def test_set_cpuid2_with_tiles_and_permission_succeeds():
    assert set_cpuid(machine_with_vcpu(granted=True), 0x602E7).outcome == Done()


def test_set_cpuid2_with_tiles_without_permission_is_eperm():
    # INV-11
    assert set_cpuid(machine_with_vcpu(), 0x602E7).outcome == Failed(errno.EPERM)


def test_set_cpuid2_that_is_eperm_changes_no_vcpu():
    # INV-11
    before = machine_with_vcpu(cpuid_xcr0=0x2E7)
    assert set_cpuid(before, 0x602E7).machine.vcpus == before.vcpus


def test_set_cpuid2_with_xtile_cfg_alone_needs_no_permission():
    # contract 4: only bit 18 triggers.
    assert set_cpuid(machine_with_vcpu(), 0x202E7).outcome == Done()


def test_set_cpuid2_limits_the_guest_to_what_kvm_can_give():
    # contract 0.2: gx = 0xD.0 and KXCR0; bit 19 is APX, which KVM does not give.
    machine = set_cpuid(machine_with_vcpu(), 0x2E7 | 1 << 19).machine
    assert machine.vcpu(VCPU).guest_xcr0 == 0x2E7


def test_the_first_table_with_tiles_makes_room_for_tile_data():
    assert amx_vcpu().vcpu(VCPU).fpstate.uabi_size == 11008


def test_the_first_table_with_tiles_lets_user_space_set_tile_data():
    assert amx_vcpu().vcpu(VCPU).fpstate.user_xfeatures == 0x602E7


def test_permission_without_a_table_with_tiles_keeps_4096_bytes():
    # contract 2: cap=11008 while the vCPU moves 4096.
    machine = machine_with_vcpu(granted=True, cpuid_xcr0=0x2E7)
    assert machine.vcpu(VCPU).fpstate.uabi_size == 4096


def test_the_first_table_with_tiles_keeps_the_guest_fpu():
    # known-bugs O3: nothing tells a VMM that what it restored is lost.
    machine = set_xsave(machine_with_vcpu(granted=True), VCPU, image(0x3, {1: XMM})).machine
    kept = image(0x3, {1: XMM, 0: bytes(152)}, software_word=0x602E7)
    assert exported(set_cpuid(machine, 0x602E7).machine) == kept


def test_the_first_table_with_tiles_of_the_o3_defect_empties_the_guest_fpu():
    # INV-31, known-bugs O3
    o3 = with_behaviours(AMX_HOST, Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE)
    machine = set_xsave(
        machine_with_vcpu(o3, granted=True), VCPU, image(0x3, {1: XMM}, mxcsr=0x1FA0)
    ).machine
    # contract 7.2 with BV=0: FCW 0x37f, MXCSR 0x1f80 and the host's mask, software word, zeros.
    empty = image(0, {0: b"\x7f\x03" + bytes(150)}, software_word=0x602E7)
    assert exported(set_cpuid(machine, 0x602E7).machine) == empty


@pytest.mark.parametrize("defects", [(), (Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE,)])
def test_of_the_cet_msrs_the_defect_empties_those_that_are_xstate(defects):
    # SDM vol.1 §13.5.9: IA32_U_CET and IA32_PLi_SSP are, IA32_S_CET is not.
    host = cet_host(*defects, ibt=True)
    without_tiles = host.supported.replaced(0xD, 0, eax=0x2E7)
    machine = given(machine_with_vcpu(host, granted=True), without_tiles).machine
    values = [(Msr.IA32_U_CET, 4), (Msr.IA32_S_CET, 4), (Msr.IA32_PL3_SSP, 8)]
    machine = given(set_msrs(machine, VCPU, values).machine, host.supported).machine
    read = get_msrs(machine, VCPU, [index for index, _ in values]).outcome.fields
    assert list(read.values()) == ([0, 4, 0] if defects else [4, 4, 8])


def test_a_second_table_with_tiles_keeps_the_guest_fpu():
    # INV-31
    machine = set_xsave(amx_vcpu(), VCPU, image(0x3, {1: XMM})).machine
    assert exported(set_cpuid(machine, 0x602E7).machine) == exported(machine)


def test_a_table_without_tiles_keeps_the_guest_fpu():
    # INV-32
    machine = set_xsave(machine_with_vcpu(), VCPU, image(0x3, {1: XMM})).machine
    assert exported(set_cpuid(machine, 0x2E7).machine) == exported(machine)


def test_a_table_without_tiles_hides_tile_data():
    # INV-33
    machine = set_xsave(amx_vcpu(), VCPU, image(0x60000, {18: b"\x11" * 8192})).machine
    assert xstate_bv(exported(set_cpuid(machine, 0x2E7).machine)) == 0


def test_a_table_without_tiles_keeps_the_size_of_the_image():
    # INV-33
    assert len(exported(set_cpuid(amx_vcpu(), 0x2E7).machine)) == 11008


def test_tile_data_is_back_when_a_table_with_tiles_is():
    # INV-33
    machine = set_xsave(amx_vcpu(), VCPU, image(0x60000, {18: b"\x11" * 8192})).machine
    without = set_cpuid(machine, 0x2E7).machine
    assert exported(set_cpuid(without, 0x602E7).machine) == exported(machine)


def test_a_vcpu_with_tiles_gets_them_again_without_permission():
    # INV-11: "or this vCPU already enabled b18"; the caller may be another process (live 17).
    machine = set_cpuid(amx_vcpu(), 0x2E7).machine
    revoked = machine.process("")._replace(guest_perm=0x202E7)
    machine = machine.with_process("", revoked)
    assert set_cpuid(machine, 0x602E7).outcome == Done()


def test_a_table_does_not_touch_xcr0():
    # contract 4: not revalidated, cleared or clamped.
    machine = amx_vcpu()
    set_before = with_fields(machine, xcr0=0x60003)
    assert set_cpuid(set_before, 0x7).machine.vcpu(VCPU).xcr0 == 0x60003


def test_a_table_does_not_touch_xfd():
    machine = amx_vcpu()
    armed = with_fields(machine, xfd=1 << 18)
    assert set_cpuid(armed, 0x7).machine.vcpu(VCPU).xfd == 1 << 18


def test_the_same_table_after_a_run_succeeds():
    # INV-12
    machine = run_until_halt(amx_vcpu(), VCPU).machine
    assert set_cpuid(machine, 0x602E7).outcome == Done()


def test_another_table_after_a_run_is_einval():
    # INV-12
    machine = run_until_halt(amx_vcpu(), VCPU).machine
    assert set_cpuid(machine, 0x2E7).outcome == Failed(errno.EINVAL)


def test_a_first_table_after_a_run_is_einval():
    # INV-12: the empty table is what it has to equal.
    machine = run_until_halt(machine_with_vcpu(), VCPU).machine
    assert set_cpuid(machine, 0x2E7).outcome == Failed(errno.EINVAL)


def test_another_table_after_a_run_is_einval_before_it_is_eperm():
    # contract 4: step 2 comes before step 4.
    machine = run_until_halt(machine_with_vcpu(cpuid_xcr0=0x2E7), VCPU).machine
    assert set_cpuid(machine, 0x602E7).outcome == Failed(errno.EINVAL)


def test_another_table_after_an_immediate_exit_succeeds():
    # INV-12
    machine = run_immediate_exit(amx_vcpu(), VCPU).machine
    assert set_cpuid(machine, 0x2E7).outcome == Done()


@pytest.mark.parametrize("nr", [0x202E7, 0x402E7])
def test_half_a_tile_pair_in_the_table_is_accepted(nr):
    # contract 4: "0xD.0 with b18 but not b17: accepted", and the reverse.
    assert set_cpuid(machine_with_vcpu(granted=True), nr).outcome == Done()


def test_a_dynamic_table_takes_the_callers_permission():
    # Live correction 17: the parent gets EPERM for the same list that its CLONE_VM child may set.
    shared = share_memory(machine_with_vcpu(), "child").machine
    child = shared.process("child")._replace(guest_perm=0x602E7)
    permitted = shared.with_process("child", child)
    assert given(permitted, FULL).outcome == Failed(errno.EPERM)
    assert given(permitted, FULL, "child").outcome == Done()


def test_the_image_grows_to_the_size_of_the_callers_permission():
    # Live correction 17: "moves 11008 bytes, and its CHECK_EXTENSION(XSAVE2) still says 4096"
    shared = share_memory(machine_with_vcpu(), "child").machine
    child = shared.process("child")._replace(guest_perm=0x602E7)
    after = given(shared.with_process("child", child), FULL, "child").machine
    assert after.vcpu(VCPU).fpstate.uabi_size == 11008


def test_another_memory_is_eio():
    # INV-41
    assert given(fork(machine_with_vcpu(), "child").machine, PLAIN, "child").outcome == Failed(
        errno.EIO
    )


def test_256_entries_are_accepted():
    # contract 4: nent > 256
    assert given(machine_with_vcpu(), CpuidTable((ZERO,) * 256)).outcome == Done()


def test_257_entries_are_e2big():
    assert given(machine_with_vcpu(), CpuidTable((ZERO,) * 257)).outcome == Failed(errno.E2BIG)


@pytest.mark.parametrize("bits", [0, 48, 57])
def test_legal_address_sizes_are_accepted(bits):
    table = PLAIN.replaced(0x8000_0008, 0, eax=bits << 8 | 46)
    assert given(machine_with_vcpu(), table).outcome == Done()


@pytest.mark.parametrize("bits", [1, 40, 47, 64, 255])
def test_other_address_sizes_are_einval_before_they_are_eperm(bits):
    # contract 4, steps 3 and 4
    table = FULL.replaced(0x8000_0008, 0, eax=bits << 8 | 46)
    assert given(machine_with_vcpu(), table).outcome == Failed(errno.EINVAL)


def test_all_bits_in_leaf_d_leave_what_kvm_can_give():
    # contract 0.2: gx = 0xD.0 and KXCR0
    every = FULL.replaced(0xD, 0, eax=0xFFFF_FFFF, edx=0xFFFF_FFFF)
    assert holding(every).vcpu(VCPU).guest_xcr0 == 0x602E7


def test_without_leaf_d_the_guest_has_no_xcr0():
    table = CpuidTable(tuple(e for e in FULL.entries if e.leaf != 0xD))
    assert holding(table).vcpu(VCPU).guest_xcr0 == 0


def test_supervisor_components_are_limited_to_what_kvm_can_give():
    # contract 0.1: gxss = 0xD.1:EDX:ECX and KXSS
    host = replace(AMX_HOST, supported=FULL.replaced(0xD, 1, ecx=0x1800))
    table = FULL.replaced(0xD, 1, ecx=0x5900)
    assert holding(table, host).vcpu(VCPU).guest_xss == 0x1800


def test_an_entry_whose_index_is_not_significant_is_every_subleaf():
    # cpuid_entry2_find; so 0xD.0 of KVM_SET_CPUID is 0xD.1 too: size 0x2b00 has bit 11 (CET_USER).
    host = replace(AMX_HOST, supported=FULL.replaced(0xD, 1, ecx=0x1800))
    table = CpuidTable((CpuidEntry(0xD, 0, 0, 0x602E7, 0, 0x2B00, 0),))
    assert holding(table, host).vcpu(VCPU).guest_xss == 0x0800


@pytest.mark.parametrize(
    "table",
    [
        CpuidTable(FULL.entries[::-1]),
        CpuidTable((*FULL.entries, ZERO)),
        CpuidTable(FULL.entries[:-1]),
        CpuidTable((*FULL.entries[:-1], FULL.entries[-1]._replace(flags=1))),
        FULL.replaced(0x8000_0001, 0, edx=0),
    ],
    ids=["order", "padding", "fewer", "flags", "register"],
)
def test_any_other_list_after_a_run_is_einval(table):
    # contract 4: entry by entry, in order, flags too
    assert given(ran(FULL), table).outcome == Failed(errno.EINVAL)


def test_what_kvm_keeps_current_is_not_compared_after_a_run():
    # contract 4: OSXSAVE, 0xD.0:EBX and 0xD.1:EBX are refreshed on both sides
    stale = FULL.replaced(0x1, 0, ecx=FULL.at(0x1, 0).ecx | 1 << 27)
    stale = stale.replaced(0xD, 0, ebx=1).replaced(0xD, 1, ebx=1)
    assert given(ran(FULL), stale).outcome == Done()


def test_an_empty_table_after_a_run_without_one_succeeds():
    machine = run_until_halt(machine_with_vcpu(), VCPU).machine
    assert given(machine, CpuidTable(())).outcome == Done()


def test_an_accepted_table_after_a_run_changes_nothing():
    machine = ran(FULL)
    assert given(machine, FULL).machine == machine


def test_without_a_table_nothing_is_read():
    assert read(machine_with_vcpu()).table.table == CpuidTable(())


def test_no_room_is_e2big():
    # Live correction 5: nent is unchanged.
    room = len(PLAIN.entries) - 1
    assert read(holding(PLAIN), room) == Failed(errno.E2BIG, {"nent": room})


def test_room_for_all_is_enough():
    assert read(holding(PLAIN), room=len(PLAIN.entries)).fields["nent"] == len(PLAIN.entries)


@pytest.mark.parametrize(
    ("xcr0", "size", "compacted"),
    [
        # SDM vol.1 13.4: 576 bytes of legacy region and header; offsets and sizes of the layout.
        (0x1, 576, 576),
        (0x3, 576, 576),
        (0x7, 576 + 256, 576 + 256),
        (0xE7, 1664 + 1024, 576 + 256 + 64 + 512 + 1024),
        (0x203, 2688 + 8, 576 + 8),
        (0x60003, 2816 + 8192, 576 + 64 + 8192),
        # YMM, k, ZMM and PKRU end at 2440; XTILE_CFG begins at the next multiple of 64, 2496.
        (0x602E7, 11008, 2496 + 64 + 8192),
    ],
)
def test_sizes_follow_xcr0(xcr0, size, compacted):
    # INV-35
    fields = read(holding(FULL, xcr0=xcr0)).fields
    assert (fields["0xD.0:EBX"], fields["0xD.1:EBX"]) == (size, compacted)


def test_the_compacted_size_has_room_for_xss():
    # contract 4: compacted size for xcr0|xss; SDM: CET_USER 16 bytes, CET_KERNEL 24.
    cet = (CpuidEntry(0xD, 11, 1, 16, 0, 1, 0), CpuidEntry(0xD, 12, 1, 24, 0, 1, 0))
    host = replace(AMX_HOST, cpu=CpuidTable((*AMX_HOST.cpu.entries, *cet)))
    assert read(holding(FULL, host, xss=0x1800)).fields["0xD.1:EBX"] == 576 + 16 + 24


def test_the_standard_size_does_not_follow_xss():
    assert read(holding(FULL, xss=0x1800)).fields["0xD.0:EBX"] == 576


def test_the_compacted_size_is_as_set_without_compaction():
    # contract 4: "only if guest CPUID has XSAVES or XSAVEC"
    table = FULL.replaced(0xD, 1, eax=0b1, ebx=77)
    assert read(holding(table, xcr0=7)).fields["0xD.1:EBX"] == 77


@pytest.mark.parametrize("feature", [0b0010, 0b1000])
def test_either_compacting_instruction_is_enough(feature):
    table = FULL.replaced(0xD, 1, eax=feature, ebx=77)
    assert read(holding(table)).fields["0xD.1:EBX"] == 576


def test_one_entry_for_all_of_leaf_d_has_the_compacted_size():
    # KVM_SET_CPUID: the entry is found as 0xD.0, then as 0xD.1, whose XSAVEC bit EAX[1] is.
    table = CpuidTable((CpuidEntry(0xD, 0, 0, 0x602E7, 0, 0, 0),))
    assert read(holding(table, xcr0=0x203)).fields["0xD.0:EBX"] == 576 + 8


@pytest.mark.parametrize("bit", [0, 1])
def test_osxsave_follows_cr4(bit):
    # INV-35; CR4.OSXSAVE is bit 18
    table = FULL.replaced(0x1, 0, ecx=1 << 26 | (1 - bit) << 27)
    assert read(holding(table, cr4=bit << 18)).table.table.at(0x1, 0).ecx == 1 << 26 | bit << 27


@pytest.mark.parametrize("bit", [0, 1])
def test_ospke_follows_cr4(bit):
    # CR4.PKE is bit 22; CPUID 7.0:ECX[4] is OSPKE
    table = FULL.replaced(0x7, 0, ecx=1 << 3 | (1 - bit) << 4)
    assert read(holding(table, cr4=bit << 22)).table.table.at(0x7, 0).ecx == 1 << 3 | bit << 4


def test_ospke_is_as_set_where_the_host_has_no_pku():
    # kvm_update_cpuid_runtime asks boot_cpu_has(X86_FEATURE_PKU)
    table = PLAIN.replaced(0x7, 0, ecx=1 << 4)
    machine = given(machine_with_vcpu(AVX512_HOST), table).machine
    assert read(machine).table.table.at(0x7, 0).ecx == 1 << 4


def test_everything_else_is_read_as_set():
    odd = CpuidTable((ZERO, CpuidEntry(0x99, 7, 1, 1, 2, 3, 4), ZERO))
    assert read(holding(odd)).table.table == odd


def test_what_is_read_can_be_given_back_after_a_run():
    # contract 4: SET(GET()) is 0
    machine = get_cpuid2(ran(FULL), VCPU, "t").machine
    assert set_cpuid2(machine, VCPU, machine.captured["t"]).outcome == Done()


KEEPS_NENT = with_behaviours(AMX_HOST, Behaviour.GET_CPUID2_KEEPS_NENT)


def test_where_nent_is_kept_blank_entries_follow():
    # Live correction 5: nent stays the caller's capacity.
    table = read(holding(PLAIN, KEEPS_NENT), room=20).table.table
    assert table.entries[len(PLAIN.entries) :] == (ZERO,) * (20 - len(PLAIN.entries))


def test_where_nent_is_kept_what_is_read_is_another_list_after_a_run():
    # Live correction 5: "-EINVAL after a run"
    machine = run_until_halt(holding(PLAIN, KEEPS_NENT), VCPU).machine
    machine = get_cpuid2(machine, VCPU, "t").machine
    assert set_cpuid2(machine, VCPU, machine.captured["t"]).outcome == Failed(errno.EINVAL)


def test_where_nent_is_kept_what_is_read_is_accepted_before_a_run():
    # Live correction 5
    machine = get_cpuid2(holding(PLAIN, KEEPS_NENT), VCPU, "t").machine
    assert set_cpuid2(machine, VCPU, machine.captured["t"]).outcome == Done()


def test_a_permission_asked_too_late_does_not_help():
    # INV-4, INV-11
    late = request_guest_permission(machine_with_vcpu(), 18).machine
    assert given(late, FULL).outcome == Failed(errno.EPERM)


ENCLAVES = CpuidTable((CpuidEntry(0xD, 0, 1, 7, 0, 0, 0), CpuidEntry(0x12, 1, 1, 0, 0, ~0, ~0)))


def test_what_enclaves_may_have_is_read_as_set():
    # Linux 6.4 and later
    assert read(holding(ENCLAVES)).table.table.entries[1] == ENCLAVES.entries[1]


def test_what_enclaves_may_have_is_limited_by_xcr0_on_some_kernels():
    # 6.1: __kvm_update_cpuid_runtime; FP and SSE are forced
    host = with_behaviours(AMX_HOST, Behaviour.SGX_XFRM_FOLLOWS_XCR0)
    assert read(holding(ENCLAVES, host)).table.table.entries[1][5:] == (7, 0)


def test_fp_and_sse_are_forced_into_what_enclaves_may_have():
    # Seen on 6.1.192 with KVM_SET_CPUID: one entry, all zero, for all of leaf 0x12.
    host = with_behaviours(AMX_HOST, Behaviour.SGX_XFRM_FOLLOWS_XCR0)
    table = CpuidTable((CpuidEntry(0x12, 0, 0, 0, 0, 0, 0),))
    assert read(holding(table, host)).table.table.entries[0].ecx == 3


def test_of_a_table_that_was_given_nothing_is_open():
    assert read(holding(FULL)).table.unspecified == frozenset()


def test_of_a_captured_table_what_differs_between_cpus_is_open():
    # SDM vol.2 CPUID 01H: EBX[31:24] is the APIC id of the CPU that was asked.
    machine = get_supported(machine_with_vcpu(), "t").machine
    machine = set_cpuid2(machine, VCPU, machine.captured["t"]).machine
    assert (0x1, Register.EBX) in read(machine).table.unspecified
