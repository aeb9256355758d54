"""Creating the VM and its vCPUs (arch/x86/kvm/x86.c: kvm_arch_vcpu_create)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.machine import MAIN, Vcpu
from kvmprobe.model.outcome import NewDescriptor, Step
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.image import FP_INIT, SSE_SIZE

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine


def new_descriptor(machine: Machine, call: str) -> Step:
    """Expect a descriptor from opening /dev/kvm or KVM_CREATE_VM; no state changes.

    :see: virt/kvm/kvm_main.c: kvm_dev_ioctl_create_vm
    """
    return Step(machine, NewDescriptor(), f"{call} returns a descriptor: kvm_main.c")


def create_vcpu(machine: Machine, vcpu_name: str, by: str = MAIN) -> Step:
    """KVM_CREATE_VCPU: a zeroed fpstate with the default components; guest permission is frozen.

    :see: arch/x86/kernel/fpu/core.c: fpu_alloc_guest_fpstate, fpu_lock_guest_permissions
    """
    process = machine.process(by)
    vcpu = Vcpu(
        user_xfeatures=machine.host.default_permission,
        mxcsr_mask=machine.host.mxcsr_mask,
        stale={XFeature.FP: FP_INIT, XFeature.SSE: bytes(SSE_SIZE)},
        memory=process.memory,
    )
    locked = machine.with_process(by, process.but(perm_locked=True))
    created = locked.with_vcpu(vcpu_name, vcpu)
    rule = "KVM_CREATE_VCPU (INV-4, INV-15): core.c: fpu_alloc_guest_fpstate"
    return Step(created, NewDescriptor(), rule)
