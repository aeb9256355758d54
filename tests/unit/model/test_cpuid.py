"""kernel contract section 2: KVM_GET_SUPPORTED_CPUID as far as XSTATE goes, KVM_CAP_XSAVE2."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.cpuid import check_xsave2, get_supported
from kvmprobe.model.machine import GuestCpuid, Machine
from kvmprobe.model.outcome import Done
from kvmprobe.model.permission import request_guest_permission
from kvmprobe.model.process import share_memory
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from tests.support.hosts import AMX_HOST, AVX512_HOST, with_behaviours

XCR0, SIZE = "0xD.0:EDX:EAX", "0xD.0:ECX"
FRESH = Machine.fresh(AMX_HOST)
GRANTED = request_guest_permission(FRESH, 18).machine
B4 = Machine.fresh(with_behaviours(AMX_HOST, Behaviour.XTILE_CFG_ADVERTISED_ALONE))
# Live correction 7: what 7.3.4 on Sapphire Rapids says of CET's two supervisor components.
CET_USER = CpuidEntry(0xD, 11, 1, 16, 0, 1, 0)
CET_KERNEL = CpuidEntry(0xD, 12, 1, 24, 0, 1, 0)
CET_HOST = replace(
    AMX_HOST,
    cpu=CpuidTable((*AMX_HOST.cpu.entries, CET_USER, CET_KERNEL)),
    supported=AMX_HOST.supported.replaced(0xD, 1, ecx=0x1800),
)


def table(machine, by=""):
    return get_supported(machine, "t", by).outcome.table.table


def values(machine):
    return get_supported(machine, "t").outcome.fields


def registers(machine, leaf, subleaf):
    return table(machine).find(leaf, subleaf)[3:]


def granted(host):
    return request_guest_permission(Machine.fresh(host), 18).machine


def test_without_permission_there_is_neither_tile_bit():
    # known-bugs B4, fixed side: D.0:EAX=0x2e7, size 0xa88.
    assert values(FRESH) == {XCR0: 0x2E7, SIZE: 0xA88}


def test_with_permission_there_are_both_tile_bits():
    assert values(GRANTED) == {XCR0: 0x602E7, SIZE: 11008}


def test_the_b4_defect_offers_xtile_cfg_alone():
    # known-bugs B4, vulnerable side: D.0:EAX=0x202e7, size 0xb00.
    assert values(B4) == {XCR0: 0x202E7, SIZE: 0xB00}


def test_the_b4_defect_makes_no_difference_with_permission():
    assert values(request_guest_permission(B4, 18).machine)[XCR0] == 0x602E7


def test_a_host_without_amx_has_no_tile_bits():
    # Hi16_ZMM ends at 1664 + 1024.
    assert values(Machine.fresh(AVX512_HOST)) == {XCR0: 0xE7, SIZE: 2688}


def test_nothing_exceeds_what_kvm_can_give():
    # The kernel may know components that KVM does not offer: contract 0.1, KXCR0.
    assert values(Machine.fresh(replace(AMX_HOST, kvm_xcr0=0xE7)))[XCR0] == 0xE7


def test_the_size_in_use_is_the_size_of_all():
    # contract 2: EBX=ECX
    assert registers(GRANTED, 0xD, 0) == (0x602E7, 11008, 11008, 0)


@pytest.mark.parametrize(
    ("machine", "size"),
    [
        # Live correction 7: 0x988 on 6.12 and 6.17, 0xa00 on 6.1 with XTILE_CFG alone, 0x2a00 with
        # permission everywhere; with CET 0x9b0 and 0x2a00 on 7.3.4.
        (FRESH, 0x988),
        (B4, 0xA00),
        (GRANTED, 0x2A00),
        (Machine.fresh(CET_HOST), 0x9B0),
        (granted(CET_HOST), 0x2A00),
    ],
    ids=["plain", "xtile-cfg", "granted", "cet", "cet-granted"],
)
def test_the_compacted_size_is_of_what_is_permitted_and_of_supervisor_components(machine, size):
    assert registers(machine, 0xD, 1)[1] == size


def test_xfd_does_not_depend_on_permission():
    # contract 2: "XFD (bit 4) is not gated by permission"
    assert registers(FRESH, 0xD, 1)[0] == registers(GRANTED, 0xD, 1)[0] == 0b11111


def test_features_that_kvm_does_not_know_are_hidden():
    # contract 2: host and KVM's {XSAVEOPT, XSAVEC, XGETBV1, XSAVES, XFD}; bit 5 is APX's.
    more = replace(AMX_HOST, cpu=AMX_HOST.cpu.replaced(0xD, 1, eax=0b111111))
    assert registers(Machine.fresh(more), 0xD, 1)[0] == 0b11111


def test_the_compacted_size_is_zero_without_compaction():
    # contract 2: "if XSAVES/XSAVEC, else 0"
    plain = replace(AMX_HOST, cpu=AMX_HOST.cpu.replaced(0xD, 1, eax=0b1))
    assert registers(Machine.fresh(plain), 0xD, 1)[:2] == (0b1, 0)


def test_supervisor_components_are_those_of_kvm():
    # contract 2: D.1:ECX/EDX is host and KXSS; the CPU has UINTR (14) too.
    cpu = CET_HOST.cpu.replaced(0xD, 1, ecx=0x5800)
    assert registers(Machine.fresh(replace(CET_HOST, cpu=cpu)), 0xD, 1)[2:] == (0x1800, 0)


def subleaves(machine):
    return [entry.subleaf for entry in table(machine).entries if entry.leaf == 0xD]


def test_there_is_one_subleaf_a_component():
    assert subleaves(FRESH) == [0, 1, 2, 5, 6, 7, 9]


def test_permission_adds_the_subleaves_of_tiles():
    assert subleaves(GRANTED) == [0, 1, 2, 5, 6, 7, 9, 17, 18]


def test_the_b4_defect_shows_the_subleaf_of_xtile_cfg():
    assert subleaves(B4) == [0, 1, 2, 5, 6, 7, 9, 17]


def test_supervisor_components_have_subleaves_without_permission():
    # Live correction 7.
    assert subleaves(Machine.fresh(CET_HOST)) == [0, 1, 2, 5, 6, 7, 9, 11, 12]


def test_a_component_is_where_the_cpu_has_it():
    # SDM vol.2 CPUID 0DH: size, offset, ECX[1] aligned, ECX[2] XFD.
    assert registers(GRANTED, 0xD, 18) == (8192, 2816, 0b110, 0)


def test_edx_of_a_component_is_zero():
    odd = replace(AMX_HOST, cpu=AMX_HOST.cpu.replaced(0xD, 2, edx=7))
    assert registers(Machine.fresh(odd), 0xD, 2)[3] == 0


def test_where_kvm_lacks_xfd_no_component_has_it():
    # contract 2: "ECX[2] (XFD support) cleared when KVM lacks XFD"
    without = replace(AMX_HOST, cpu=AMX_HOST.cpu.replaced(0xD, 1, eax=0b1111))
    assert registers(granted(without), 0xD, 18)[2] == 0b010


def test_amx_is_advertised_without_permission():
    # known-bugs O4: 7.0:EDX bits 22, 24, 25, and leaves 0x1D and 0x1E.
    tile, tmul = registers(FRESH, 0x1D, 1), registers(FRESH, 0x1E, 0)
    assert registers(FRESH, 0x7, 0)[3] == 1 << 22 | 1 << 24 | 1 << 25
    assert (tile, tmul) == ((0x0400_2000, 0x0008_0040, 16, 0), (0, 0x4010, 0, 0))


def test_without_amx_tile_the_leaves_of_tiles_are_zero():
    plain = Machine.fresh(AVX512_HOST)
    assert {registers(plain, leaf, 0) for leaf in (0x1D, 0x1E)} == {(0, 0, 0, 0)}


WITH_TMUL = CpuidTable(
    (
        *(e for e in AMX_HOST.cpu.entries if e.leaf != 0x1E),
        CpuidEntry(0x1E, 0, 1, 1, 0x4010, 0, 0),
        CpuidEntry(0x1E, 1, 1, 0x1FF, 0, 0, 0),
    )
)


def test_further_amx_features_are_hidden_by_a_kernel_that_does_not_know_them():
    host = replace(AMX_HOST, cpu=WITH_TMUL)
    assert [e.subleaf for e in table(Machine.fresh(host)).entries if e.leaf == 0x1E] == [0]


def test_further_amx_features_are_shown_by_a_kernel_that_knows_them():
    # contract 2, 0x1E.1: AMX_FP8, TF32, AVX512, MOVRS and the aliases; bit 5 is none.
    known = with_behaviours(replace(AMX_HOST, cpu=WITH_TMUL), Behaviour.KNOWS_TMUL_FEATURES)
    assert registers(Machine.fresh(known), 0x1E, 1) == (0x1DF, 0, 0, 0)


def test_a_kernel_that_knows_them_shows_none_where_the_cpu_has_none():
    # Live correction 7: 0x1E.0 only, on 7.3.4 too.
    known = with_behaviours(AMX_HOST, Behaviour.KNOWS_TMUL_FEATURES)
    assert table(Machine.fresh(known)) == table(FRESH)


def test_a_vendor_module_may_hide_features():
    offered = AMX_HOST.supported.replaced(0xD, 1, eax=0b111)
    hiding = with_behaviours(replace(AMX_HOST, supported=offered), Behaviour.HIDES_XSAVE_FEATURES)
    assert registers(Machine.fresh(hiding), 0xD, 1)[0] == 0b111


def test_permission_changes_nothing_else():
    unpermitted, permitted = (
        [e for e in table(machine).entries if e.leaf != 0xD] for machine in (FRESH, GRANTED)
    )
    assert unpermitted == permitted


def test_it_is_the_callers_permission():
    # contract 2: "evaluated per call with the caller's gperm"
    shared = share_memory(FRESH, "other").machine
    other = request_guest_permission(shared, 18, "other").machine
    assert [table(other, by).xcr0 for by in ("", "other")] == [0x2E7, 0x602E7]


def test_what_differs_between_cpus_is_open():
    # SDM vol.2 CPUID 01H: EBX[31:24] is the APIC id.
    unspecified = get_supported(FRESH, "t").outcome.table.unspecified
    assert {register.name for leaf, register in unspecified if leaf == 0x1} == {"EBX"}


def test_the_table_is_kept_as_it_was_when_it_was_fetched():
    stale = get_supported(FRESH, "t").machine
    kept = request_guest_permission(stale, 18).machine.captured["t"]
    assert kept == GuestCpuid.of(table(FRESH))


def test_xsave2_is_4096_without_permission():
    assert check_xsave2(FRESH).outcome == Done(4096)


def test_xsave2_is_11008_with_permission():
    assert check_xsave2(GRANTED).outcome == Done(11008)


def test_xsave2_is_4096_with_the_b4_defect():
    # 2816 bytes, but never below struct kvm_xsave.
    assert check_xsave2(B4).outcome == Done(4096)
