"""IA32_XFD and IA32_XFD_ERR as the host sets and reads them.

Shaped like arch/x86/kvm/x86.c: kvm_set_msr_common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.outcome import Done, Step
from kvmprobe.xstate.features import DYNAMIC

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine

XFD_FIELD, XFD_ERR_FIELD = "XFD", "XFD_ERR"


def set_xfd(machine: Machine, vcpu_name: str, value: int) -> Step:
    """KVM_SET_MSRS(IA32_XFD), host-initiated: processed iff within the guest's dynamic components.

    Arming XFD[i] puts component i of the guest in its INIT state: XSTATE_BV[i] becomes 0.

    :see: arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd;
        SDM vol.1 §13.14 "Extended Feature Disable (XFD)"
    """
    vcpu = machine.vcpu(vcpu_name)
    rule = "XFD[i]=1 clears XSTATE_BV[i] (INV-25, INV-29): core.c: fpu_update_guest_xfd"
    if value & ~(vcpu.guest_xcr0 & DYNAMIC):
        return Step(machine, Done(0), rule)
    vcpu = vcpu.but(xfd=value)
    if Behaviour.XFD_WRITE_KEEPS_XSTATE_BV not in machine.host.behaviours:
        vcpu = vcpu.but(
            xstate_bv=vcpu.xstate_bv & ~value, xstate_bv_open=vcpu.xstate_bv_open & ~value
        )
    return Step(machine.with_vcpu(vcpu_name, vcpu), Done(1), rule)


def set_xfd_err(machine: Machine, vcpu_name: str, value: int) -> Step:
    """KVM_SET_MSRS(IA32_XFD_ERR), host-initiated.

    :see: arch/x86/kvm/x86.c: kvm_set_msr_common
    """
    vcpu = machine.vcpu(vcpu_name)
    rule = "XFD_ERR within the guest's dynamic components (INV-25): x86.c: kvm_set_msr_common"
    if value & ~(vcpu.guest_xcr0 & DYNAMIC):
        return Step(machine, Done(0), rule)
    return Step(machine.with_vcpu(vcpu_name, vcpu.but(xfd_err=value)), Done(1), rule)


def get_xfd(machine: Machine, vcpu_name: str) -> Step:
    """KVM_GET_MSRS(IA32_XFD, IA32_XFD_ERR): both always readable by the host.

    :see: arch/x86/kvm/x86.c: kvm_get_msr_common
    """
    vcpu = machine.vcpu(vcpu_name)
    rule = "GET_MSRS returns the last accepted XFD and XFD_ERR (INV-25, INV-38)"
    return Step(machine, Done(2, {XFD_FIELD: vcpu.xfd, XFD_ERR_FIELD: vcpu.xfd_err}), rule)
