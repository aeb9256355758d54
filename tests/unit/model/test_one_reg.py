"""KVM_GET_ONE_REG and KVM_SET_ONE_REG of MSRs: api.rst, asm/kvm.h (KVM_X86_REG_MSR)."""

import errno

import pytest

from kvmprobe.model import one_reg
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.outcome import Done, Failed
from tests.support.hosts import B18, VCPU, amx_vcpu

KNOWS = Behaviour.ONE_REG_MSRS
# KVM_REG_X86 | KVM_REG_SIZE_U64 | KVM_X86_REG_TYPE_MSR << 32 | index
XFD = 0x2030_0002_0000_01C4
XSS = 0x2030_0002_0000_0DA0


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
