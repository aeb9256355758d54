"""KVM_GET_ONE_REG, KVM_SET_ONE_REG and KVM_GET_REG_LIST on x86: one MSR, or the guest's SSP.

Shaped like arch/x86/kvm/x86.c (msrs.c since 7.3): kvm_get_set_one_reg, kvm_get_reg_list.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.model import cet, msr
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.feature import SHSTK, has_feature
from kvmprobe.model.outcome import Done, Failed, HostDies, Step
from kvmprobe.model.rule import KernelFile, KernelSource, Rule

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine

# asm/kvm.h: KVM_X86_REG_MSR
REG_X86, SIZE_U64 = 0x2000_0000_0000_0000, 0x0030_0000_0000_0000
_TYPE_MSR = 2
# asm/kvm.h: KVM_X86_REG_KVM(KVM_REG_GUEST_SSP)
GUEST_SSP = REG_X86 | SIZE_U64 | 3 << 32
VALUE_FIELD, COUNT_FIELD, REGISTER_FIELD = "value", "n", "reg[0]"
GET_ONE_REG = Rule(
    "KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP",
    (),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_get_set_one_reg"),
        KernelSource(KernelFile.KVM_X86, "kvm_translate_kvm_reg"),
        KernelSource(KernelFile.KVM_X86, "kvm_get_one_msr"),
    ),
)
SET_ONE_REG = Rule(
    "KVM_SET_ONE_REG writes an MSR as KVM_SET_MSRS does, or the guest's SSP",
    (),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_get_set_one_reg"),
        KernelSource(KernelFile.KVM_X86, "kvm_translate_kvm_reg"),
        KernelSource(KernelFile.KVM_X86, "kvm_set_one_msr"),
    ),
)


def msr_id(index: int) -> int:
    """Return the register id of an MSR.

    :see: arch/x86/include/uapi/asm/kvm.h: KVM_X86_REG_MSR
    """
    return REG_X86 | SIZE_U64 | _TYPE_MSR << 32 | index


def msr_of(register_id: int) -> int | None:
    """Return the MSR that a register id is for; None if it is for another register.

    :see: arch/x86/include/uapi/asm/kvm.h: KVM_X86_REG_MSR
    """
    index = register_id & U32_MAX
    return index if register_id == msr_id(index) else None


def get_one_reg(machine: Machine, vcpu_name: str, register_id: int) -> Step:
    """KVM_GET_ONE_REG: EINVAL for another register, or an MSR that KVM_GET_MSRS would not read.

    :see: arch/x86/kvm/x86.c: kvm_get_set_one_reg, kvm_get_one_msr, kvm_translate_kvm_reg
    """
    if _is_ssp(machine, vcpu_name, register_id):
        return Step(machine, Done(fields={VALUE_FIELD: machine.vcpu(vcpu_name).ssp}), GET_ONE_REG)
    index = _msr(machine, register_id)
    if index is None:
        return Step(machine, Failed(errno.EINVAL), GET_ONE_REG)
    step = msr.get_msrs(machine, vcpu_name, [index])
    match step.outcome:
        case Done(1, fields):
            value = next(iter(fields.values()))
            return Step(step.machine, Done(fields={VALUE_FIELD: value}), GET_ONE_REG)
        case HostDies() as dies:
            return Step(machine, dies, GET_ONE_REG)
        case _:
            return Step(machine, Failed(errno.EINVAL), GET_ONE_REG)


def set_one_reg(machine: Machine, vcpu_name: str, register_id: int, value: int) -> Step:
    """KVM_SET_ONE_REG: EINVAL where KVM_SET_MSRS would not process the entry.

    The guest's SSP takes what the IA32_PLi_SSP take.

    :see: arch/x86/kvm/x86.c: kvm_get_set_one_reg, kvm_set_one_msr, kvm_translate_kvm_reg
    """
    if _is_ssp(machine, vcpu_name, register_id):
        if not cet.legal_ssp(machine.host, value):
            return Step(machine, Failed(errno.EINVAL), SET_ONE_REG)
        written = machine.vcpu(vcpu_name)._replace(ssp=value)
        return Step(machine.with_vcpu(vcpu_name, written), Done(), SET_ONE_REG)
    index = _msr(machine, register_id)
    if index is None:
        return Step(machine, Failed(errno.EINVAL), SET_ONE_REG)
    step = msr.set_msrs(machine, vcpu_name, [(index, value)])
    match step.outcome:
        case Done(1):
            return Step(step.machine, Done(), SET_ONE_REG)
        case HostDies() as dies:
            return Step(machine, dies, SET_ONE_REG)
        case _:
            return Step(step.machine, Failed(errno.EINVAL), SET_ONE_REG)


GET_REG_LIST = Rule(
    "KVM_GET_REG_LIST has the registers of KVM itself",
    (),
    (KernelSource(KernelFile.KVM_X86, "kvm_get_reg_list"),),
)


def get_reg_list(machine: Machine, vcpu_name: str, capacity: int) -> Step:
    """KVM_GET_REG_LIST: the shadow stack pointer alone, for a guest that has shadow stacks.

    :see: arch/x86/kvm/x86.c: kvm_get_reg_list
    """
    if Behaviour.ONE_REG_MSRS not in machine.host.behaviours:
        return Step(machine, Failed(errno.EINVAL), GET_REG_LIST)
    vcpu = machine.vcpu(vcpu_name)
    count = int(has_feature(machine.host, vcpu, SHSTK))
    if capacity < count:
        return Step(machine, Failed(errno.E2BIG), GET_REG_LIST)
    listed = {REGISTER_FIELD: GUEST_SSP} if count else {}
    return Step(machine, Done(fields={COUNT_FIELD: count, **listed}), GET_REG_LIST)


def _is_ssp(machine: Machine, vcpu_name: str, register_id: int) -> bool:
    knows = Behaviour.ONE_REG_MSRS in machine.host.behaviours
    has = has_feature(machine.host, machine.vcpu(vcpu_name), SHSTK)
    return register_id == GUEST_SSP and knows and has


def _msr(machine: Machine, register_id: int) -> int | None:
    return msr_of(register_id) if Behaviour.ONE_REG_MSRS in machine.host.behaviours else None
