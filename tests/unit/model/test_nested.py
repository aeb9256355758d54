"""KVM_GET_NESTED_STATE and KVM_SET_NESTED_STATE on VMX."""

import errno
from dataclasses import replace

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.guest_cpuid import set_cpuid2
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.nested import (
    HEAD_SIZE,
    NO_ADDRESS,
    VMCS_SIZE,
    NestedState,
    get_nested_state,
    not_known,
    set_nested_state,
)
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from tests.support.hosts import AMX_HOST, VCPU, machine_with_vcpu, with_behaviours

OFF = NestedState(0, 0, HEAD_SIZE, NO_ADDRESS, NO_ADDRESS, 0, 0)
ON = OFF._replace(vmxon=0x1000)
VMX = CpuidTable((CpuidEntry(1, 0, 0, 0, 0, 1 << 5, 0),))
EINVAL = Failed(errno.EINVAL)


def with_vmx(*behaviours):
    host = replace(with_behaviours(AMX_HOST, *behaviours), supported=VMX)
    return set_cpuid2(machine_with_vcpu(host), VCPU, GuestCpuid.of(VMX)).machine


def sets(given, machine=None):
    return set_nested_state(machine or with_vmx(), VCPU, given)


def vmxon(machine):
    return get_nested_state(machine, VCPU, HEAD_SIZE).outcome.fields["vmxon_pa"]


def test_a_vcpu_is_outside_vmx_operation_at_first():
    assert vmxon(with_vmx()) == NO_ADDRESS


def test_a_small_buffer_is_told_the_size():
    outcome = get_nested_state(with_vmx(), VCPU, HEAD_SIZE - 1).outcome
    assert outcome == Failed(errno.E2BIG, {"size": HEAD_SIZE})


def test_vmx_operation_begins_and_ends():
    step = sets(ON)
    assert (step.outcome, vmxon(step.machine)) == (Done(), 0x1000)
    assert vmxon(sets(OFF, step.machine).machine) == NO_ADDRESS


@pytest.mark.parametrize(
    "given",
    [
        OFF._replace(size=HEAD_SIZE - 1),
        OFF._replace(format=1),
        OFF._replace(flags=8),
        OFF._replace(vmcs12=0x1000),
        OFF._replace(smm_flags=1),
        OFF._replace(vmx_flags=2),
        ON._replace(flags=0x10),
        ON._replace(flags=2),
        ON._replace(flags=4),
        ON._replace(smm_flags=2),
        ON._replace(vmxon=0x1001),
        ON._replace(vmxon=1 << 52),
    ],
)
def test_what_is_checked_first_is_refused_without_a_trace(given):
    on = sets(ON._replace(vmxon=0x3000), with_vmx(Behaviour.REFUSED_NESTED_STATE_STAYS)).machine
    step = sets(given, on)
    assert (step.outcome, vmxon(step.machine)) == (EINVAL, 0x3000)


LATE = [
    ON._replace(vmcs12=0x2000),
    ON._replace(flags=1),
    ON._replace(size=HEAD_SIZE + VMCS_SIZE),
]


@pytest.mark.parametrize("given", LATE)
@pytest.mark.parametrize(
    ("behaviours", "left"), [((), NO_ADDRESS), ((Behaviour.REFUSED_NESTED_STATE_STAYS,), 0x1000)]
)
def test_what_is_checked_last_may_leave_vmx_operation(given, behaviours, left):
    step = sets(given, with_vmx(*behaviours))
    assert (step.outcome, vmxon(step.machine)) == (EINVAL, left)


@pytest.mark.parametrize("flags", [8, 0x100])
def test_flags_that_vmx_has_no_use_for_are_ignored(flags):
    assert sets(ON._replace(flags=flags)).outcome == Done()


def test_a_guest_without_vmx_cannot_be_in_its_operation():
    assert sets(ON, machine_with_vcpu(AMX_HOST)).outcome == EINVAL
    assert sets(OFF, machine_with_vcpu(AMX_HOST)).outcome == Done()


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (ON, True),
        (ON._replace(vmxon=1 << 40), False),
        (ON._replace(vmxon=1 << 40 | 1), True),
        (ON._replace(vmcs12=1 << 40), False),
        (ON._replace(size=HEAD_SIZE + VMCS_SIZE), True),
        (ON._replace(size=HEAD_SIZE + VMCS_SIZE, vmcs12=0x2000), False),
    ],
)
def test_what_depends_on_the_cpu_or_a_vmcs_is_not_covered(given, known):
    assert (not not_known(given)) == known


@pytest.mark.parametrize(
    ("size", "known"),
    [
        (HEAD_SIZE + 0x100, True),
        (HEAD_SIZE + 0x101, False),
        (HEAD_SIZE + VMCS_SIZE - 1, False),
        (HEAD_SIZE + VMCS_SIZE, True),
    ],
)
def test_whether_a_vmcs_fits_into_a_size_between_is_not_known(size, known):
    # vmx_set_nested_state compares with sizeof(struct vmcs12): 7.3.4 refuses 0x107f
    assert (not_known(ON._replace(size=size)) == "") is known
    assert not_known(OFF._replace(size=size)) == ""
