"""Literal input: what the model covers, and what a correct kernel does with SREGS."""

import errno
from dataclasses import replace

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.model import literal
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.guest_cpuid import current
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.outcome import Done, Failed, OneOf
from kvmprobe.model.sregs import get_sregs, set_cr4, set_sregs
from kvmprobe.scenarios.catalog.literal import sregs_bytes
from kvmprobe.scenarios.ops.literal import members
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from tests.support.hosts import AMX_HOST, VCPU, machine_with_vcpu, with_behaviours

# SDM vol.3 §2.5: PG, WP, ET, PE; PAE. §2.2.1: SCE, LME, LMA.
LONG_MODE = {"cr0": 0x8001_0011, "cr4": 0x20, "efer": 0x501, "apic_base": 0xFEE0_0900}
XEN = (0x566E_6558, 0x6558_4D4D, 0x4D4D_566E)


def machine():
    made = machine_with_vcpu(AMX_HOST)
    vcpu = made.vcpu(VCPU)._replace(cpuid=GuestCpuid.of(AMX_HOST.supported))
    return made.with_vcpu(VCPU, vcpu)


def sregs(layout=ioctls.KVM_SREGS, **changes):
    values = {**LONG_MODE, **{name.replace("__", "."): v for name, v in changes.items()}}
    return members(layout, sregs_bytes(layout, values))


def outcome(**changes):
    return literal.set_literal_sregs(machine(), VCPU, sregs(**changes)).outcome


def uncovered(**changes):
    return literal.uncovered_sregs(AMX_HOST, machine().vcpu(VCPU), sregs(**changes))


def test_long_mode_is_accepted_and_read_back():
    after = literal.set_literal_sregs(machine(), VCPU, sregs(cr2=7, cr3=0x1000, cs__selector=8))
    assert after.outcome == Done()
    fields = get_sregs(after.machine, VCPU).outcome.fields
    expected = {"cr0": 0x8001_0011, "cr2": 7, "cr3": 0x1000, "cr4": 0x20, "efer": 0x501}
    assert {name: fields[name] for name in expected} == expected
    assert (fields["cs_base"], fields["cs_selector"]) == (0, 8)


@pytest.mark.parametrize(
    "changes",
    [
        # kvm_is_valid_sregs: LME and PG take PAE and LMA; else neither LMA nor CS.L
        {"cr4": 0},
        {"efer": 0x101},
        {"cr0": 0x11},
        {"cr0": 0x11, "efer": 0x101, "cs__l": 1},
        {"efer": 0, "cs__l": 1},
        {"cr4": 0x20 | 1 << 63},
    ],
)
def test_what_contradicts_itself_is_refused_and_changes_nothing(changes):
    before = machine()
    step = literal.set_literal_sregs(before, VCPU, sregs(**changes))
    assert (step.outcome, step.machine) == (Failed(errno.EINVAL), before)


def test_a_structure_that_was_kept_before_replaces_what_was_given():
    kept = get_sregs(machine(), VCPU, "sregs").machine
    given = literal.set_literal_sregs(kept, VCPU, sregs(cr2=7)).machine
    again = set_sregs(given, VCPU, 0x20, "sregs").machine
    assert get_sregs(again, VCPU).outcome.fields["cr2"] == 0


def test_cr4_alone_leaves_the_other_registers():
    given = literal.set_literal_sregs(machine(), VCPU, sregs(cr2=7)).machine
    after = set_cr4(given, VCPU, 0xA0).machine
    assert get_sregs(after, VCPU).outcome.fields["cr2"] == 7


def test_nx_is_covered_where_cpuid_has_it():
    # SDM vol.4 table 2-2: IA32_EFER.NXE is bit 11.
    given, none = sregs(cr0=0x10, cr4=0, efer=0x800), machine_with_vcpu().vcpu(VCPU)
    assert "without NX" in literal.uncovered_sregs(AMX_HOST, none, given)
    assert uncovered(efer=0xD01) == ""


def test_usual_registers_are_covered():
    assert (uncovered(), uncovered(layout=ioctls.KVM_SREGS2)) == ("", "")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cr0": 0x8001_0001}, "ET"),
        ({"cr0": 0x8001_0091}, "reserved bits"),
        ({"cr0": 0x8000_0010}, "not legal"),
        ({"cr0": 0xA001_0011}, "not legal"),
        ({"efer": 0x1501}, "EFER bits"),
        ({"cr3": 1 << 36}, "CR3"),
        ({"cr8": 1}, "CR8"),
        ({"apic_base": 0xFEE0_0100}, "APIC base"),
        ({"interrupt_bitmap": 1}, "pending interrupt"),
    ],
)
def test_registers_whose_check_is_not_certain_are_not_covered(changes, why):
    if "interrupt_bitmap" in changes:
        given = {**sregs(), "interrupt_bitmap3": 1}
        assert why in literal.uncovered_sregs(AMX_HOST, machine().vcpu(VCPU), given)
        return
    assert why in uncovered(**changes)


def test_flags_are_not_covered():
    assert "flags" in uncovered(layout=ioctls.KVM_SREGS2, flags=1)


def test_long_mode_is_not_covered_without_it_in_cpuid():
    bare = machine_with_vcpu(AMX_HOST).vcpu(VCPU)
    assert "long mode" in literal.uncovered_sregs(AMX_HOST, bare, sregs())


def test_what_kvm_supports_is_covered():
    assert literal.uncovered_table(AMX_HOST, AMX_HOST.supported) == ""


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (CpuidEntry(1, 1, 1, 0, 0, 0, 0), "without an index"),
        (CpuidEntry(0x4000_0100, 0, 0, 0, *XEN), "Xen"),
        (CpuidEntry(0x8000_0008, 0, 0, 0x3023, 0, 0, 0), "35 physical address bits"),
        (CpuidEntry(0x8000_0008, 0, 0, 0x3035, 0, 0, 0), "53 physical address bits"),
    ],
)
def test_a_table_that_kvm_reads_in_another_way_is_not_covered(entry, why):
    assert why in literal.uncovered_table(AMX_HOST, CpuidTable((entry,)))


@pytest.mark.parametrize(
    "entry",
    [
        CpuidEntry(1, 1, 0, 0, 0, 0, 0),
        CpuidEntry(0xD, 1, 1, 0, 0, 0, 0),
        CpuidEntry(0x8000_0008, 0, 0, 0x3024, 0, 0, 0),
        CpuidEntry(0x8000_0008, 0, 0, 0x3034, 0, 0, 0),
    ],
)
def test_tables_beside_those_are_covered(entry):
    assert literal.uncovered_table(AMX_HOST, CpuidTable((entry,))) == ""


def test_a_vendor_module_that_rewrites_cpuid_empties_entries_of_leaf_0xd():
    # kvm_pvm: 0xD.1 whose index is not significant ends up empty.
    plain = CpuidTable((CpuidEntry(0xD, 1, 0, 0, 0, 0, 0),))
    owner = with_behaviours(AMX_HOST, Behaviour.VENDOR_REWRITES_CPUID)
    assert literal.uncovered_table(AMX_HOST, plain) == ""
    assert "vendor module" in literal.uncovered_table(owner, plain)


def test_a_vendor_module_that_owns_control_registers_pages_in_long_mode_only():
    # kvm_pvm: CR0.PG stays clear without EFER.LME, and KVM_SET_SREGS returns 0.
    given, owner = sregs(efer=0), with_behaviours(AMX_HOST, Behaviour.VENDOR_OWNS_CR4)
    vcpu = machine().vcpu(VCPU)
    assert literal.uncovered_sregs(AMX_HOST, vcpu, given) == ""
    assert "outside long mode" in literal.uncovered_sregs(owner, vcpu, given)


def test_apic_in_cpuid_follows_the_local_apic():
    # arch/x86/kvm/cpuid.c: kvm_update_cpuid_runtime; the APIC is enabled after reset.
    given = GuestCpuid.of(CpuidTable((CpuidEntry(1, 0, 0, 0, 0, 0, 0),)))
    assert current(AMX_HOST, machine().vcpu(VCPU), given).table.at(1, 0).edx == 1 << 9


def test_the_answer_for_an_msr_that_the_model_does_not_know_is_open():
    step = literal.set_unknown_msr(machine())
    assert isinstance(step.outcome, OneOf)
    assert [choice.value for choice in step.outcome.choices] == [0, 1]
    assert step.machine == machine()


@pytest.mark.parametrize(
    ("index", "value", "why"),
    [
        (0x277, 0, "set-msrs"),
        (0xC000_0080, 1, "KVM_SET_SREGS"),
        (0x1B, 1, "KVM_SET_SREGS"),
        (0x80F, 1, "local APIC"),
        (0x12, 1, "guest memory"),
        (0x4B56_4D01, 1, "guest memory"),
        (0x4000_0001, 1, "guest memory"),
    ],
)
def test_an_msr_that_changes_what_the_model_has_is_not_covered(index, value, why):
    assert why in literal.uncovered_msr(index, value)


@pytest.mark.parametrize(("index", "value"), [(0x10A, 1), (0x4B56_4D01, 0), (0x4000_0200, 1)])
def test_other_msrs_can_be_set(index, value):
    assert literal.uncovered_msr(index, value) == ""


def _image(fcw, fsw, xstate_bv=1):
    legacy = fcw.to_bytes(2, "little") + fsw.to_bytes(2, "little") + bytes(508)
    return legacy + xstate_bv.to_bytes(8, "little") + bytes(4096 - 520)


@pytest.mark.parametrize(
    ("image", "covered"),
    [
        (b"", True),
        (_image(0x37F, 0), True),
        # ZE pending and masked; not masked, with ES and B; then each of the two alone.
        (_image(0x37F, 0x4), True),
        (_image(0x37B, 0x8084), True),
        (_image(0x37B, 0x84), False),
        (_image(0x37B, 0x8004), False),
        (_image(0x37F, 0x8080), False),
        (_image(0x37F, 0x8080, xstate_bv=2), True),
        (_image(0x37F, 0, xstate_bv=0x8), False),
        (_image(0x37F, 0, xstate_bv=0x10), False),
    ],
)
def test_an_image_that_a_cpu_rewrites_is_not_covered(image, covered):
    # SDM vol.1 §8.1.3.3: ES is set by an exception that is not masked; B mirrors it.
    assert (literal.uncovered_image(image) == "") == covered


@pytest.mark.parametrize(("host_ecx", "covered"), [(1 << 3, True), (0, False)])
def test_ospke_without_protection_keys_is_not_covered(host_ecx, covered):
    # CPUID 7.0:ECX: PKU is bit 3, OSPKE bit 4.  7.3.4 clears OSPKE there.
    host = replace(AMX_HOST, cpu=AMX_HOST.cpu.replaced(7, 0, ecx=host_ecx))
    table = CpuidTable((CpuidEntry(7, 0, 1, 0, 0, 1 << 4, 0),))
    assert (literal.uncovered_table(host, table) == "") is covered
    assert literal.uncovered_table(host, CpuidTable((CpuidEntry(7, 0, 1, 0, 0, 8, 0),))) == ""
