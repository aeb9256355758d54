"""Live correction 10: kvm_pvm rewrites the table; seen again on an Intel host."""

from __future__ import annotations

import errno

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.guest_cpuid import get_cpuid2, set_cpuid2
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.run import run_until_halt
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from tests.support.hosts import AVX512_HOST, VCPU, machine_with_vcpu, with_behaviours

PVM = with_behaviours(AVX512_HOST, Behaviour.VENDOR_REWRITES_CPUID)
TABLE = AVX512_HOST.supported
LEAF_1 = CpuidEntry(0x1, 0, 0, 0, 0, 0, 0)
LEAF_7 = CpuidEntry(0x7, 0, 1, 0, 0, 0, 0)


def given(*entries):
    table = GuestCpuid.of(CpuidTable(entries))
    return set_cpuid2(machine_with_vcpu(PVM), VCPU, table).machine


def leaf_d(xcr0, flags=1):
    return CpuidEntry(0xD, 0, flags, xcr0, 0, 0, 0)


@pytest.mark.parametrize("xcr0", [0x3, 0x7, 0xE7])
def test_the_guest_has_all_of_kvms_xcr0_whatever_was_set(xcr0):
    # Set 3, read 0xe7.
    machine = given(leaf_d(xcr0))
    assert machine.vcpu(VCPU).guest_xcr0 == 0xE7
    assert get_cpuid2(machine, VCPU, "t").outcome.fields["0xD.0:EDX:EAX"] == 0xE7


def test_a_list_with_leaf_1_gets_leaf_d():
    # Seen: one entry, leaf 1, becomes seven: 0xD.0, 0xD.1, and those of components 2, 5, 6 and 7.
    vcpu = given(LEAF_1).vcpu(VCPU)
    assert vcpu.guest_xcr0 == 0xE7
    offered = [entry.subleaf for entry in TABLE.entries if entry.leaf == 0xD]
    assert [entry.subleaf for entry in vcpu.cpuid.entries if entry.leaf == 0xD] == offered


def test_a_list_without_both_has_no_xcr0():
    assert given(LEAF_7).vcpu(VCPU).guest_xcr0 == 0


def test_one_entry_for_all_of_leaf_d_ends_up_empty():
    # Seen with KVM_SET_CPUID.
    assert given(LEAF_1, leaf_d(0xE7, flags=0)).vcpu(VCPU).guest_xcr0 == 0


def test_features_are_the_cpus_but_for_xsaves_and_xfd():
    # Seen: set 0, read 7.
    kept = given(leaf_d(0x3), CpuidEntry(0xD, 1, 1, 0, 0, 0x1800, 0)).vcpu(VCPU).cpuid
    assert (kept.entries[1].eax, kept.xss) == (0b111, 0)


def test_the_same_table_after_a_run_is_another():
    # The correction: identical is EINVAL, what was read is 0.
    machine = run_until_halt(given(LEAF_1, leaf_d(0x3)), VCPU).machine
    same = GuestCpuid.of(CpuidTable((LEAF_1, leaf_d(0x3))))
    assert set_cpuid2(machine, VCPU, same).outcome == Failed(errno.EINVAL)


def test_what_is_read_can_be_given_back_after_a_run():
    machine = run_until_halt(given(*TABLE.entries), VCPU).machine
    machine = get_cpuid2(machine, VCPU, "t").machine
    assert set_cpuid2(machine, VCPU, machine.captured["t"]).outcome == Done()


def test_how_many_entries_there_are_is_not_told():
    # The module drops and adds leaves that have nothing to do with XSTATE.
    outcome = get_cpuid2(given(*TABLE.entries), VCPU, "t").outcome
    assert ("nent" in outcome.fields, outcome.table) == (False, None)
