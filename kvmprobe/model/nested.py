"""A vCPU's state of nested virtualization: KVM_GET_NESTED_STATE and KVM_SET_NESTED_STATE on VMX.

Shaped like arch/x86/kvm/vmx/nested.c: vmx_get_nested_state, vmx_set_nested_state.  A state with a
current VMCS is known only as what KVM returned for another vCPU.  Leaves out SMM and Hyper-V's
enlightened VMCS.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.feature import VMX, has_feature
from kvmprobe.model.machine import U64_MAX
from kvmprobe.model.outcome import Done, Failed, Step
from kvmprobe.model.rule import DocumentSource, KernelFile, KernelSource, Rule

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu

_API = "Documentation/virt/kvm/api.rst"
NO_ADDRESS = U64_MAX
# The part of a vCPU that is saved here, beside those of ``guest_migration``.
SAVED = "nested-state"
HEAD_SIZE, VMCS_SIZE = 128, 0x1000
# arch/x86/kvm/vmx/vmcs12.h: struct vmcs12 is larger than 0x100, and at most VMCS_SIZE.
_ROOM_FOR_NONE = HEAD_SIZE + 0x100
_VMX_FORMAT = 0
# asm/kvm.h: KVM_STATE_NESTED_GUEST_MODE, _RUN_PENDING; _MTF_PENDING, _GIF_SET.  _EVMCS is refused
# of a vCPU that has no enlightened VMCS: vmx_set_nested_state.
_GUEST_MODE, _RUN_PENDING = 1, 2
_FLAGS = _GUEST_MODE | _RUN_PENDING | 8 | 0x100
# asm/kvm.h: KVM_STATE_VMX_PREEMPTION_TIMER_DEADLINE
_VMX_FLAGS = 1
_PAGE = 0xFFF
# Bits of an address that every CPU has, and that any may have.
_LEAST_BITS, _MOST_BITS = 36, 52


class NestedState(NamedTuple):
    """Members of ``struct kvm_nested_state`` with a ``struct kvm_vmx_nested_state_hdr``.

    :ivar vmxon: address of the VMXON region; NO_ADDRESS outside VMX operation
    :ivar vmcs12: address of the current VMCS; NO_ADDRESS without one
    """

    flags: int
    format: int
    size: int
    vmxon: int
    vmcs12: int
    smm_flags: int
    vmx_flags: int


GET_NESTED_STATE = Rule(
    "KVM_GET_NESTED_STATE returns whether the vCPU is in VMX operation",
    (),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl"),
        KernelSource(KernelFile.KVM_VMX_NESTED, "vmx_get_nested_state"),
        DocumentSource(_API, "4.114 KVM_GET_NESTED_STATE"),
    ),
)


def get_nested_state(machine: Machine, vcpu_name: str, room: int) -> Step:
    """KVM_GET_NESTED_STATE into a buffer of ``room`` bytes; E2BIG comes with the size.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl; arch/x86/kvm/vmx/nested.c: vmx_get_nested_state
    """
    vcpu = machine.vcpu(vcpu_name)
    shown = vcpu.vmxon if has_feature(machine.host, vcpu, VMX) else NO_ADDRESS
    size = HEAD_SIZE if vcpu.vmcs12 == NO_ADDRESS else HEAD_SIZE + VMCS_SIZE
    if room < size:
        return Step(machine, Failed(errno.E2BIG, {"size": size}), GET_NESTED_STATE)
    fields = {
        "flags": _GUEST_MODE if vcpu.in_l2 else 0,
        "format": _VMX_FORMAT,
        "size": size,
        "vmxon_pa": shown,
        "vmcs12_pa": vcpu.vmcs12,
    }
    return Step(machine, Done(fields=fields), GET_NESTED_STATE)


def save_nested_state(machine: Machine, vcpu_name: str) -> Step:
    """KVM_GET_NESTED_STATE of all of it, to restore it elsewhere.

    :see: arch/x86/kvm/vmx/nested.c: vmx_get_nested_state
    """
    step = get_nested_state(machine, vcpu_name, HEAD_SIZE + 2 * VMCS_SIZE)
    kept = {**machine.moved, (vcpu_name, SAVED): machine.vcpu(vcpu_name)}
    return Step(machine._replace(moved=kept), step.outcome, step.rule)


RESTORE_NESTED_STATE = Rule(
    "KVM_SET_NESTED_STATE of what KVM_GET_NESTED_STATE returned goes on in the nested guest",
    (),
    (
        KernelSource(KernelFile.KVM_VMX_NESTED, "vmx_set_nested_state"),
        KernelSource(KernelFile.KVM_VMX_NESTED, "nested_vmx_enter_non_root_mode"),
        DocumentSource(_API, "4.115 KVM_SET_NESTED_STATE"),
    ),
)


def restore_nested_state(machine: Machine, vcpu_name: str, source: str) -> Step:
    """KVM_SET_NESTED_STATE of what was saved of another vCPU, in which XSTATE has no part.

    :see: arch/x86/kvm/vmx/nested.c: vmx_set_nested_state, nested_vmx_enter_non_root_mode
    """
    vcpu, had = machine.vcpu(vcpu_name), machine.moved[source, SAVED]
    if had.vmxon != NO_ADDRESS and not has_feature(machine.host, vcpu, VMX):
        return Step(machine, Failed(errno.EINVAL), RESTORE_NESTED_STATE)
    restored = vcpu._replace(
        vmxon=had.vmxon, vmcs12=had.vmcs12, in_l2=had.in_l2, l2_exceptions=had.l2_exceptions
    )
    return Step(machine.with_vcpu(vcpu_name, restored), Done(), RESTORE_NESTED_STATE)


def not_restorable(machine: Machine, vcpu_name: str, source: str) -> str:
    """Return why the model does not know what restoring does; empty if it does.

    :see: arch/x86/kvm/vmx/nested.c: nested_vmx_enter_non_root_mode
    """
    vcpu, had = machine.vcpus.get(vcpu_name), machine.moved.get((source, SAVED))
    if vcpu is None or had is None:
        return ""
    if (vcpu.cr0, vcpu.cr4, vcpu.efer) != (had.cr0, had.cr4, had.efer):
        return "needs the control registers of the vCPU that was saved: KVM_SET_SREGS"
    return ""


SET_NESTED_STATE = Rule(
    "KVM_SET_NESTED_STATE that is refused changes nothing",
    (),
    (
        KernelSource(KernelFile.KVM_VMX_NESTED, "vmx_set_nested_state"),
        KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl"),
        DocumentSource(_API, "4.115 KVM_SET_NESTED_STATE"),
    ),
)


def not_known(given: NestedState) -> str:
    """Return why the model does not know the answer; empty if it does.

    :see: arch/x86/kvm/vmx/nested.c: vmx_set_nested_state
    """
    for address in (given.vmxon, given.vmcs12):
        if address >> _LEAST_BITS and not _is_illegal(address):
            return "whether there is such an address depends on the CPU"
    if given.vmxon != NO_ADDRESS and _ROOM_FOR_NONE < given.size < HEAD_SIZE + VMCS_SIZE:
        return "whether a VMCS fits into that size depends on the kernel's struct vmcs12"
    if given.size >= HEAD_SIZE + VMCS_SIZE and given.vmcs12 != NO_ADDRESS:
        return "the model does not know the current VMCS of a guest"
    return ""


def set_nested_state(machine: Machine, vcpu_name: str, given: NestedState) -> Step:
    """KVM_SET_NESTED_STATE of a vCPU that is not in SMM.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl; arch/x86/kvm/vmx/nested.c: vmx_set_nested_state
    """
    host, vcpu = machine.host, machine.vcpu(vcpu_name)
    refused = Failed(errno.EINVAL)
    if _refused_by_core(given) or _refused(host, vcpu, given):
        return Step(machine, refused, SET_NESTED_STATE)
    after = machine.with_vcpu(vcpu_name, vcpu._replace(vmxon=given.vmxon))
    if given.vmxon == NO_ADDRESS or not _lacks_vmcs(given):
        return Step(after, Done(), SET_NESTED_STATE)
    late = Behaviour.REFUSED_NESTED_STATE_STAYS in host.behaviours
    return Step(after if late else machine, refused, SET_NESTED_STATE)


def _refused_by_core(given: NestedState) -> bool:
    return bool(
        given.size < HEAD_SIZE
        or given.flags & ~_FLAGS
        or (given.flags & _RUN_PENDING and not given.flags & _GUEST_MODE)
    )


def _refused(host: HostProfile, vcpu: Vcpu, given: NestedState) -> bool:
    if given.vmxon == NO_ADDRESS:
        of_vmxon = given.vmcs12 != NO_ADDRESS or bool(given.flags)
    else:
        of_vmxon = _is_illegal(given.vmxon) or not has_feature(host, vcpu, VMX)
    return bool(
        given.format != _VMX_FORMAT or of_vmxon or given.smm_flags or given.vmx_flags & ~_VMX_FLAGS
    )


def _is_illegal(address: int) -> bool:
    """Return True if no CPU has such a page."""
    return bool(address >> _MOST_BITS or address & _PAGE)


def _lacks_vmcs(given: NestedState) -> bool:
    """Return True if the state needs a VMCS that it does not have."""
    with_vmcs = given.size >= HEAD_SIZE + VMCS_SIZE
    return with_vmcs or bool(given.flags & _GUEST_MODE) or given.vmcs12 != NO_ADDRESS
