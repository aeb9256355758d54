"""Creating VMs and vCPUs (virt/kvm/kvm_main.c; arch/x86/kvm/x86.c: kvm_arch_vcpu_create)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.model import avx_left
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.fpstate import Fpstate
from kvmprobe.model.machine import MAIN, Vcpu, Vm
from kvmprobe.model.outcome import Failed, NewDescriptor, Step
from kvmprobe.model.process import OTHER_MEMORY, denied
from kvmprobe.model.rule import KernelFile, KernelSource, Rule

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine

# KVMMAX_VCPU_IDS is 4 times CONFIG_KVM_MAX_NR_VCPUS, which is 4096 at most.
MAX_VCPU_IDS = 1 << 14


OPEN_KVM = Rule(
    "open(/dev/kvm) returns a descriptor",
    (),
    (KernelSource(KernelFile.OPEN, "do_sys_openat2"),),
)


def open_kvm(machine: Machine, kvm_name: str = "kvm") -> Step:
    """open(/dev/kvm).

    :see: fs/open.c: do_sys_openat2
    """
    if machine.process(MAIN).limited:
        return Step(machine, Failed(errno.EMFILE), OPEN_KVM)
    return Step(machine.with_open(MAIN, kvm_name), NewDescriptor(), OPEN_KVM)


CREATE_VM = Rule(
    "KVM_CREATE_VM does not freeze guest permission",
    ("INV-4",),
    (KernelSource(KernelFile.KVM_MAIN, "kvm_dev_ioctl_create_vm"),),
)


def create_vm(machine: Machine, vm_name: str = "vm", kvm_name: str = "kvm", by: str = MAIN) -> Step:
    """KVM_CREATE_VM: it belongs to the caller's memory; permission is not looked at.

    :see: virt/kvm/kvm_main.c: kvm_dev_ioctl_create_vm
    """
    refusal = denied(machine, kvm_name, by)
    if refusal is not None:
        return Step(machine, refusal, CREATE_VM)
    process = machine.process(by)
    if process.limited:
        return Step(machine, Failed(errno.EMFILE), CREATE_VM)
    created = machine.with_vm(vm_name, Vm(process.memory)).with_open(by, vm_name)
    return Step(created, NewDescriptor(), CREATE_VM)


VCPU_ID_TOO_LARGE = Rule(
    "KVM_CREATE_VCPU with an id that the VM cannot have fails before guest permission is frozen",
    ("INV-4",),
    (
        KernelSource(KernelFile.KVM_MAIN, "kvm_vm_ioctl_create_vcpu"),
        KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_precreate"),
    ),
)

VCPU_ID_TAKEN = Rule(
    "KVM_CREATE_VCPU with an id that is taken fails with EEXIST",
    ("INV-4",),
    (KernelSource(KernelFile.KVM_MAIN, "kvm_vm_ioctl_create_vcpu"),),
)

NO_DESCRIPTOR_LEFT = Rule(
    "KVM_CREATE_VCPU needs its descriptor after it has frozen guest permission",
    ("INV-4",),
    (
        KernelSource(KernelFile.KVM_MAIN, "create_vcpu_fd"),
        KernelSource(KernelFile.KVM_MAIN, "kvm_vm_ioctl_create_vcpu"),
    ),
)

CREATE_VCPU = Rule(
    "KVM_CREATE_VCPU freezes guest permission and makes a fpstate in its initial state",
    ("INV-4", "INV-15"),
    (
        KernelSource(KernelFile.FPU_CORE, "fpu_alloc_guest_fpstate"),
        KernelSource(KernelFile.FPU_CORE, "fpu_lock_guest_permissions"),
        KernelSource(KernelFile.KVM_MAIN, "kvm_vm_ioctl_create_vcpu"),
    ),
)


def create_vcpu(
    machine: Machine, vcpu_name: str, by: str = MAIN, vm_name: str = "vm", vcpu_id: int = 0
) -> Step:
    """KVM_CREATE_VCPU: a zeroed fpstate with the default components; guest permission is frozen.

    The caller's permission is frozen, and stays so if a later part of the call fails.

    :see: virt/kvm/kvm_main.c: kvm_vm_ioctl_create_vcpu;
        arch/x86/kernel/fpu/core.c: fpu_alloc_guest_fpstate, fpu_lock_guest_permissions
    """
    refusal = denied(machine, vm_name, by)
    if refusal is not None:
        return Step(machine, refusal, OTHER_MEMORY)
    behaviours = machine.host.behaviours
    if Behaviour.VCPU_ID_TRUNCATED in behaviours:
        vcpu_id &= U32_MAX
    if vcpu_id >= MAX_VCPU_IDS:
        return Step(machine, Failed(errno.EINVAL), VCPU_ID_TOO_LARGE)
    vm, process = machine.vm(vm_name), machine.process(by)
    if vm.max_vcpu_ids and vcpu_id >= vm.max_vcpu_ids:
        return Step(machine, Failed(errno.EINVAL), VCPU_ID_TOO_LARGE)
    locked = machine.with_process(by, process._replace(perm_locked=True))
    if vcpu_id in vm.vcpu_ids:
        after = locked if Behaviour.DUPLICATE_VCPU_ID_LOCKS in behaviours else machine
        return Step(after, Failed(errno.EEXIST), VCPU_ID_TAKEN)
    if process.limited:
        return Step(locked, Failed(errno.EMFILE), NO_DESCRIPTOR_LEFT)
    fpstate = Fpstate(
        user_xfeatures=machine.host.default_permission,
        mxcsr_mask=machine.host.mxcsr_mask,
        stale=avx_left.bytes_at_creation(machine.host),
    )
    vcpu = Vcpu(fpstate, memory=vm.memory, lapic=vm.irqchip, caller=machine.registers)
    with_id = vm._replace(vcpu_ids=vm.vcpu_ids | {vcpu_id})
    created = locked.with_vm(vm_name, with_id).with_vcpu(vcpu_name, vcpu)
    return Step(created.with_open(by, vcpu_name), NewDescriptor(), CREATE_VCPU)
