"""The model of the running host, beside that host."""

from __future__ import annotations

import pytest

from kvmprobe import model
from kvmprobe.bindings import KernelCallError, Unavailable, guest_permission
from kvmprobe.execution.running_host import running_host
from kvmprobe.xstate import CpuidTable


@pytest.fixture(scope="module")
def here():
    return running_host()


def restored(profile, table, xcr0):
    """The model of a vCPU after KVM_SET_CPUID2 and KVM_SET_XCRS."""
    steps = model.in_sequence(
        model.Machine.fresh(profile),
        lambda m: model.create_vcpu(m, "vcpu"),
        lambda m: model.set_cpuid2(m, "vcpu", model.GuestCpuid.of(table)),
        lambda m: model.set_xcr0(m, "vcpu", xcr0),
    )
    return steps[-1].machine


def test_the_size_of_the_guests_area_follows_its_xcr0(here, kvm, vcpu):
    # SDM vol.1 13.2: CPUID 0xD.0:EBX is the size for the features in XCR0: 576 + 256 with AVX.
    table = CpuidTable.from_bytes(kvm.supported_cpuid())
    vcpu.set_cpuid2(table.to_bytes())
    vcpu.set_xcr0(7)
    read = model.get_cpuid2(restored(here.profile, table, 7), "vcpu", "read").machine
    assert CpuidTable(read.captured["read"].entries).find(0xD, 0).ebx == 832
    assert CpuidTable.from_bytes(vcpu.get_cpuid2()).find(0xD, 0).ebx == 832


def errno_of(vcpu, xcr0):
    try:
        vcpu.set_xcr0(xcr0)
    except KernelCallError as error:
        return error.errno
    return 0


@pytest.mark.parametrize("xcr0", [0, 1, 2, 3, 5, 7])
def test_xcr0_is_accepted_as_the_kernel_accepts_it(here, kvm, vcpu, xcr0):
    table = CpuidTable.from_bytes(kvm.supported_cpuid())
    vcpu.set_cpuid2(table.to_bytes())
    machine = restored(here.profile, table, 1)
    outcome = model.set_xcr0(machine, "vcpu", xcr0).outcome
    assert errno_of(vcpu, xcr0) == getattr(outcome, "errno", 0)


def test_the_profile_matches_the_kernel(here, kvm):
    assert here.profile.msrs == frozenset(kvm.msr_indices())
    assert here.profile.supported.find(0xD, 0).eax == here.profile.kvm_xcr0 & 0xFFFF_FFFF


def test_the_profile_is_that_of_probe(here, examined):
    assert (here.profile, here.undetermined) == (examined.profile, examined.undetermined)


def test_probing_does_not_change_the_permission_of_this_process():
    before = guest_permission()
    running_host()
    assert guest_permission() == before


def test_a_device_that_is_not_there_is_unavailable():
    with pytest.raises(Unavailable, match="/dev/no_such_kvm") as caught:
        running_host("/dev/no_such_kvm")
    assert caught.value.code == "no_kvm"
