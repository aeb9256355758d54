"""KVM_ENABLE_CAP on a VM and on a vCPU: which capabilities, flags and arguments are accepted.

Shaped like virt/kvm/kvm_main.c: kvm_vm_ioctl_enable_cap_generic; arch/x86/kvm/x86.c:
kvm_vm_ioctl_enable_cap, kvm_vcpu_ioctl_enable_cap.  Leaves out arguments whose meaning depends on
the kernel's build or version, and those that change what other ioctls return or when a guest exits.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.lifecycle import MAX_VCPU_IDS
from kvmprobe.model.outcome import Done, Failed, Step
from kvmprobe.model.rule import DocumentSource, KernelFile, KernelSource, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.machine import Machine, Vm

_API = "Documentation/virt/kvm/api.rst"
_U64_MAX = (1 << 64) - 1
_UPPER = _U64_MAX & ~U32_MAX
# linux/kvm.h: KVM_X86_DISABLE_EXITS_PAUSE, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE
_PAUSE, _MANUAL_PROTECT = 4, 1
# No bit of 4096 and below: arch/x86/kvm/ioapic.h: MAX_NR_RESERVED_IOAPIC_PINS
_TOO_MANY_PINS = _U64_MAX & ~0x1FFF
# No bit of MAX_VCPU_IDS and below.
_TOO_MANY_IDS = _U64_MAX & ~(2 * MAX_VCPU_IDS - 1)


class Argument(NamedTuple):
    """What ``args[0]`` of one capability may be.

    :ivar accepted: bits that every kernel accepts and that change nothing that the model knows
    :ivar refused: bits that no kernel accepts
    """

    accepted: int
    refused: int


_NOTHING_ELSE = Argument(0, _UPPER)
OF_VM: Mapping[int, Argument] = {
    # An unknown quirk is not refused: that is why there is KVM_CAP_DISABLE_QUIRKS2.
    Capability.DISABLE_QUIRKS: Argument(1 << 63, 0),
    Capability.DISABLE_QUIRKS2: _NOTHING_ELSE,
    Capability.SPLIT_IRQCHIP: Argument(0x3F, _TOO_MANY_PINS),
    Capability.MAX_VCPU_ID: Argument(0x3FF, _TOO_MANY_IDS),
    Capability.X2APIC_API: Argument(3, _UPPER),
    Capability.X86_DISABLE_EXITS: Argument(_PAUSE, _UPPER),
    Capability.MSR_PLATFORM_INFO: Argument(_U64_MAX, 0),
    Capability.EXCEPTION_PAYLOAD: Argument(0, 0),
    Capability.X86_TRIPLE_FAULT_EVENT: Argument(0, 0),
    Capability.MANUAL_DIRTY_LOG_PROTECT2: Argument(3, _U64_MAX & ~3),
    Capability.HALT_POLL: Argument(U32_MAX, _UPPER),
    Capability.X86_USER_SPACE_MSR: _NOTHING_ELSE,
    Capability.X86_BUS_LOCK_EXIT: Argument(1, _UPPER),
    Capability.EXIT_HYPERCALL: _NOTHING_ELSE,
    Capability.EXIT_ON_EMULATION_FAILURE: Argument(0, _UPPER),
}
OF_VCPU: Mapping[int, Argument] = {
    Capability.ENFORCE_PV_FEATURE_CPUID: Argument(_U64_MAX, 0),
}
# Hyper-V's synthetic interrupt controller needs a local APIC; with one the model does not know it.
_SYNIC = frozenset({Capability.HYPERV_SYNIC, Capability.HYPERV_SYNIC2})
# Numbers of no capability, and capabilities that only say something.
NEVER = frozenset({0, Capability.SYNC_REGS, Capability.XSAVE, Capability.XSAVE2, U32_MAX})


def vm_cap_refused(machine: Machine, vm_name: str, cap: int, flags: int, arg: int) -> str:
    """Return why the model does not know the answer to KVM_ENABLE_CAP of a VM; empty if it does.

    :see: arch/x86/kvm/x86.c: kvm_vm_ioctl_enable_cap
    """
    vm = machine.vm(vm_name)
    if cap == Capability.MAX_VCPU_ID and not flags and vm.vcpu_ids and not vm.max_vcpu_ids:
        return "kernels differ on whether a first limit of ids, or none, is accepted after a vCPU"
    return _refused({**OF_VM, **dict.fromkeys((*OF_VCPU, *_SYNIC, *NEVER))}, cap, flags, arg)


def vcpu_cap_refused(machine: Machine, vcpu_name: str, cap: int, flags: int, arg: int) -> str:
    """Return the same of a vCPU.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_enable_cap
    """
    if cap in _SYNIC and machine.vcpu(vcpu_name).lapic and not flags:
        return "the model does not know Hyper-V's synthetic interrupt controller"
    return _refused({**OF_VCPU, **dict.fromkeys((*OF_VM, *_SYNIC, *NEVER))}, cap, flags, arg)


def _refused(known: Mapping[int, Argument | None], cap: int, flags: int, arg: int) -> str:
    if cap not in known:
        return f"the model does not know what capability {cap} does"
    argument = known[cap]
    if flags or argument is None or arg & argument.refused or not arg & ~argument.accepted:
        return ""
    return f"what args[0]={arg:#x} of capability {cap} does depends on the kernel"


ENABLE_VM_CAP = Rule(
    "KVM_ENABLE_CAP of a VM refuses flags, unknown capabilities and unknown arguments",
    (),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_vm_ioctl_enable_cap"),
        KernelSource(KernelFile.KVM_MAIN, "kvm_vm_ioctl_enable_cap_generic"),
        DocumentSource(_API, "4.37 KVM_ENABLE_CAP"),
    ),
)


def enable_vm_cap(machine: Machine, vm_name: str, cap: int, flags: int, arg: int) -> Step:
    """KVM_ENABLE_CAP of a VM.

    :param arg: ``args[0]``; the capabilities that are known ignore the others
    :see: virt/kvm/kvm_main.c: kvm_vm_ioctl_enable_cap_generic;
        arch/x86/kvm/x86.c: kvm_vm_ioctl_enable_cap
    """
    vm, argument = machine.vm(vm_name), OF_VM.get(cap)
    if flags or argument is None or arg & argument.refused:
        return Step(machine, Failed(errno.EINVAL), ENABLE_VM_CAP)
    match cap:
        case Capability.SPLIT_IRQCHIP:
            return split_irqchip(machine, vm_name)
        case Capability.MAX_VCPU_ID:
            return limit_vcpu_ids(machine, vm_name, arg)
        case Capability.X86_DISABLE_EXITS:
            late = vm.vcpu_ids and Behaviour.EXITS_DISABLED_LATE not in machine.host.behaviours
            refused = bool(late)
        case Capability.MANUAL_DIRTY_LOG_PROTECT2:
            refused = bool(arg) and not arg & _MANUAL_PROTECT
        case _:
            refused = False
    return Step(machine, Failed(errno.EINVAL) if refused else Done(), ENABLE_VM_CAP)


SPLIT_IRQCHIP = Rule(
    "KVM_CAP_SPLIT_IRQCHIP gives later vCPUs a local APIC, once and before the first vCPU",
    (),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_vm_ioctl_enable_cap"),
        DocumentSource(_API, "7.5 KVM_CAP_SPLIT_IRQCHIP"),
    ),
)


def split_irqchip(machine: Machine, vm_name: str) -> Step:
    """KVM_CAP_SPLIT_IRQCHIP: the local APICs are in the kernel, the I/O APIC in user space.

    :see: arch/x86/kvm/x86.c: kvm_vm_ioctl_enable_cap
    """
    vm = machine.vm(vm_name)
    if vm.irqchip or vm.vcpu_ids:
        return Step(machine, Failed(errno.EEXIST), SPLIT_IRQCHIP)
    return Step(machine.with_vm(vm_name, vm._replace(irqchip=True)), Done(), SPLIT_IRQCHIP)


LIMIT_VCPU_IDS = Rule(
    "KVM_CAP_MAX_VCPU_ID limits the ids of vCPUs, once",
    (),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_vm_ioctl_enable_cap"),
        DocumentSource(_API, "7.31 KVM_CAP_MAX_VCPU_ID"),
    ),
)


def limit_vcpu_ids(machine: Machine, vm_name: str, limit: int) -> Step:
    """KVM_CAP_MAX_VCPU_ID: a limit that is set stays; the same value may be set again.

    :see: arch/x86/kvm/x86.c: kvm_vm_ioctl_enable_cap
    """
    vm: Vm = machine.vm(vm_name)
    if vm.max_vcpu_ids not in {0, limit}:
        return Step(machine, Failed(errno.EINVAL), LIMIT_VCPU_IDS)
    limited = vm._replace(max_vcpu_ids=limit)
    return Step(machine.with_vm(vm_name, limited), Done(), LIMIT_VCPU_IDS)


ENABLE_VCPU_CAP = Rule(
    "KVM_ENABLE_CAP of a vCPU refuses flags and unknown capabilities",
    (),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_vcpu_ioctl_enable_cap"),
        DocumentSource(_API, "4.37 KVM_ENABLE_CAP"),
    ),
)


def enable_vcpu_cap(machine: Machine, cap: int, flags: int) -> Step:
    """KVM_ENABLE_CAP of a vCPU: paravirtual features as CPUID has them; others are refused.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_enable_cap
    """
    accepted = not flags and cap in OF_VCPU
    outcome = Done() if accepted else Failed(errno.EINVAL)
    return Step(machine, outcome, ENABLE_VCPU_CAP)
