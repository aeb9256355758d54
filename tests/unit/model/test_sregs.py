"""kernel contract section 3, 9 (pair R,U) and INV-34: CR4 through KVM_SET_SREGS."""

import errno

import pytest

from kvmprobe.errors import NotModelled
from kvmprobe.model import guest
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.control import Cr4
from kvmprobe.model.guest_control import NOTHING, nothing
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.sregs import get_sregs, legal_cr4, set_cr4, set_sregs
from kvmprobe.xstate.cpuid import CpuidTable
from tests.support.hosts import AMX_HOST, AVX512_HOST, VCPU, machine_with_vcpu, with_behaviours

# SDM vol.3 §2.5: bits of CR4.
OSXSAVE, OSFXSR, PKE, SMXE = 1 << 18, 1 << 9, 1 << 22, 1 << 14
EVERYTHING = GuestCpuid.of(AMX_HOST.supported)
NEEDS = Behaviour.CR4_NEEDS_CPUID


def without_xsave():
    return GuestCpuid.of(AMX_HOST.supported.replaced(1, 0, ecx=0))


def test_before_cpuid_osxsave_is_legal():
    # contract 9, R;U on 6.x
    assert legal_cr4(AMX_HOST, None, OSXSAVE)


def test_before_cpuid_osxsave_is_refused_by_a_kernel_that_needs_cpuid():
    # INV-34
    assert not legal_cr4(with_behaviours(AMX_HOST, NEEDS), None, OSXSAVE)


@pytest.mark.parametrize("nr", range(11))
def test_bits_that_stand_for_no_feature_of_kvms_are_always_legal(nr):
    # live correction 6: "PAE, PGE, OSFXSR, OSXMMEXCPT ok"
    assert legal_cr4(with_behaviours(AMX_HOST, NEEDS), None, 1 << nr)


@pytest.mark.parametrize("behaviours", [(), (NEEDS,)])
def test_after_cpuid_osxsave_takes_xsave_in_cpuid(behaviours):
    # INV-34: "after: 0 iff CPUID.1:ECX[26]"
    host = with_behaviours(AMX_HOST, *behaviours)
    assert (legal_cr4(host, EVERYTHING, OSXSAVE), legal_cr4(host, without_xsave(), OSXSAVE)) == (
        True,
        False,
    )


def test_pke_takes_pku_in_kvm_and_in_the_guest():
    # The AVX-512 host's KVM has no PKU.
    assert legal_cr4(AMX_HOST, EVERYTHING, PKE)
    assert not legal_cr4(AVX512_HOST, EVERYTHING, PKE)


@pytest.mark.parametrize("nr", [14, 15, 19, 24, 27, 29, 32, 63])
def test_smxe_and_reserved_bits_are_never_legal(nr):
    assert not legal_cr4(AMX_HOST, EVERYTHING, 1 << nr | OSFXSR)


def test_an_empty_cpuid_is_not_no_cpuid():
    assert not legal_cr4(AMX_HOST, GuestCpuid.of(CpuidTable(())), OSXSAVE)


@pytest.mark.parametrize(("bit", "legal"), [(Cr4.OSXSAVE, True), (Cr4.LA57, False)])
def test_a_vendor_that_owns_cr4_looks_at_no_cpuid(bit, legal):
    host = with_behaviours(AVX512_HOST, Behaviour.VENDOR_OWNS_CR4)
    assert legal_cr4(host, GuestCpuid(), bit.bit) == legal


def test_a_refused_cr4_changes_nothing():
    # INV-19
    machine = set_cr4(machine_with_vcpu(), VCPU, OSFXSR).machine
    step = set_cr4(machine, VCPU, OSFXSR | SMXE)
    assert (step.outcome, step.machine) == (Failed(errno.EINVAL), machine)


def test_the_last_accepted_cr4_is_read_back():
    machine = set_cr4(machine_with_vcpu(), VCPU, OSXSAVE | OSFXSR).machine
    assert get_sregs(machine, VCPU).outcome.fields["cr4"] == OSXSAVE | OSFXSR


def test_a_fresh_vcpu_is_as_reset_leaves_it():
    # SDM vol.3 table 10-1: CR0 60000010H, CR4 0, CS base FFFF0000H, selector F000H
    fields = get_sregs(machine_with_vcpu(), VCPU).outcome.fields
    expected = {"cr0": 0x60000010, "cr4": 0, "cs_base": 0xFFFF0000, "cs_selector": 0xF000}
    assert {name: fields[name] for name in expected} == expected


def test_cr4_changes_no_other_register():
    # contract 9, pairs X,R F,R A,R
    before = machine_with_vcpu().vcpu(VCPU)
    step = set_cr4(machine_with_vcpu(), VCPU, OSXSAVE)
    assert step.outcome == Done()
    assert step.machine.vcpu(VCPU)._replace(cr4=0) == before


def in_guest(machine):
    """The machine after the guest payload has executed a NOP."""
    return guest.execute(machine, VCPU, guest.NO_BITS, nothing, NOTHING).machine


# Fault 22: KVM_SET_SREGS writes all that KVM_GET_SREGS returned.
def test_registers_that_were_read_before_guest_code_come_back():
    machine = get_sregs(machine_with_vcpu(), VCPU, "kept").machine
    machine = set_sregs(in_guest(machine), VCPU, 0, "kept").machine
    fields = get_sregs(machine, VCPU).outcome.fields
    assert (fields["cr0"], fields["cr4"], fields["efer"]) == (0x6000_0010, 0, 0)


def test_registers_that_were_read_after_guest_code_come_back():
    machine = get_sregs(in_guest(machine_with_vcpu()), VCPU, "kept").machine
    machine = set_sregs(machine, VCPU, 0x620, "kept").machine
    fields = get_sregs(machine, VCPU).outcome.fields
    # The payload sets EFER.LME in kvmprobe/native/guest_payload.S, and then CR0.PG.
    assert (fields["cr0"], fields["cr4"], fields["efer"]) == (0x8001_0033, 0x620, 0x500)


def test_paging_in_long_mode_needs_pae():
    # KERNEL: kvm_is_valid_sregs requires it.
    machine = get_sregs(in_guest(machine_with_vcpu()), VCPU, "kept").machine
    assert set_sregs(machine, VCPU, 0x600, "kept").outcome == Failed(errno.EINVAL)


def test_a_run_with_half_of_the_registers_restored_is_not_modelled():
    machine = get_sregs(machine_with_vcpu(), VCPU, "kept").machine
    machine = set_sregs(in_guest(machine), VCPU, 0, "kept").machine
    with pytest.raises(NotModelled, match="KVM_SET_REGS"):
        in_guest(machine)
