"""KVM_GET_ONE_REG and KVM_SET_ONE_REG of MSRs: api.rst, asm/kvm.h (KVM_X86_REG_MSR)."""

import errno

import pytest

from kvmprobe.model import one_reg
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.outcome import Done, Failed
from tests.support.hosts import B18, VCPU, amx_vcpu, cet_host, machine_with_vcpu, with_fields

KNOWS = Behaviour.ONE_REG_MSRS
# KVM_REG_X86 | KVM_REG_SIZE_U64 | KVM_X86_REG_TYPE_MSR << 32 | index
XFD = 0x2030_0002_0000_01C4
XSS = 0x2030_0002_0000_0DA0
# api.rst, KVM_SET_ONE_REG: "KVM-defined registers for x86"
SSP = 0x2030_0003_0000_0000


def write(value, *behaviours, register=XFD):
    return one_reg.set_one_reg(amx_vcpu(*behaviours), VCPU, register, value)


def test_the_id_of_an_msr_is_the_headers():
    assert one_reg.msr_id(0x1C4) == XFD


def test_xfd_is_written():
    step = write(B18, KNOWS)
    assert (step.outcome, step.machine.vcpu(VCPU).xfd) == (Done(), B18)


def test_what_was_written_is_read():
    outcome = one_reg.get_one_reg(write(B18, KNOWS).machine, VCPU, XFD).outcome
    assert outcome == Done(fields={"value": B18})


@pytest.mark.parametrize(("register", "value"), [(XFD, 1), (XSS, 1), (XFD & ~0xFFFF, 0)])
def test_what_set_msrs_would_not_process_is_einval(register, value):
    step = write(value, KNOWS, register=register)
    assert (step.outcome, step.machine) == (Failed(errno.EINVAL), amx_vcpu(KNOWS))


@pytest.mark.parametrize("bit", [32, 40, 48, 52, 61])
def test_another_type_size_or_architecture_is_einval(bit):
    assert write(0, KNOWS, register=XFD ^ 1 << bit).outcome == Failed(errno.EINVAL)


def test_a_kernel_that_does_not_know_msrs_refuses_all():
    machine = amx_vcpu()
    outcomes = [
        one_reg.get_one_reg(machine, VCPU, XFD).outcome,
        one_reg.set_one_reg(machine, VCPU, XFD, 0).outcome,
        one_reg.get_reg_list(machine, VCPU, 1).outcome,
    ]
    assert outcomes == [Failed(errno.EINVAL)] * 3


def test_the_list_of_a_guest_without_shadow_stacks_is_empty():
    outcome = one_reg.get_reg_list(amx_vcpu(KNOWS), VCPU, 0).outcome
    assert outcome == Done(fields={"n": 0})


def with_shadow_stacks(*behaviours, shstk=True):
    """A vCPU whose guest has what its host offers: CET, with shadow stacks or IBT alone."""
    host = cet_host(*behaviours, shstk=shstk, ibt=True)
    return with_fields(machine_with_vcpu(host), cpuid=GuestCpuid.of(host.supported))


def ssp_after(machine, value):
    step = one_reg.set_one_reg(machine, VCPU, SSP, value)
    read = one_reg.get_one_reg(step.machine, VCPU, SSP).outcome
    return step.outcome, read.fields["value"]


def test_the_id_of_the_shadow_stack_pointer_is_the_documented_one():
    assert one_reg.GUEST_SSP == SSP


@pytest.mark.parametrize("value", [0, 4, 0x7FFF_FFFF_FFFC, 0xFFFF_8000_0000_0000])
def test_the_shadow_stack_pointer_is_written_and_read(value):
    assert ssp_after(with_shadow_stacks(KNOWS), value) == (Done(), value)


@pytest.mark.parametrize("value", [1, 2, 3, 1 << 47, 1 << 63])
def test_a_shadow_stack_pointer_that_no_entry_accepts_is_einval(value):
    # SDM vol.3 27.3.1.4: bits 1:0 are 0, and the address is canonical
    assert ssp_after(with_shadow_stacks(KNOWS), value) == (Failed(errno.EINVAL), 0)


@pytest.mark.parametrize(
    "machine",
    [amx_vcpu(KNOWS), with_shadow_stacks(), with_shadow_stacks(KNOWS, shstk=False)],
    ids=["no CET", "a kernel before ONE_REG", "IBT alone"],
)
def test_a_guest_without_shadow_stacks_has_no_shadow_stack_pointer(machine):
    outcomes = [
        one_reg.get_one_reg(machine, VCPU, SSP).outcome,
        one_reg.set_one_reg(machine, VCPU, SSP, 0).outcome,
    ]
    assert outcomes == [Failed(errno.EINVAL)] * 2


def test_no_other_register_of_kvm_exists():
    outcome = one_reg.set_one_reg(with_shadow_stacks(KNOWS), VCPU, SSP + 1, 0).outcome
    assert outcome == Failed(errno.EINVAL)


def test_the_list_of_a_guest_with_shadow_stacks_has_their_pointer():
    machine = with_shadow_stacks(KNOWS)
    outcomes = [one_reg.get_reg_list(machine, VCPU, room).outcome for room in (0, 1)]
    assert outcomes == [Failed(errno.E2BIG), Done(fields={"n": 1, "reg[0]": SSP})]
