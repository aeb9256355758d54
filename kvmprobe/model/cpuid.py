"""What KVM offers in CPUID, and what setting a vCPU's CPUID does (arch/x86/kvm/cpuid.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import MAIN, GuestCpuid
from kvmprobe.model.outcome import Done, Failed, Step
from kvmprobe.xstate.features import DYNAMIC, XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine, Vcpu

XCR0_FIELD = "0xD.0:EDX:EAX"
SIZE_FIELD = "0xD.0:ECX"


def permitted_xcr0(machine: Machine, by: str = MAIN) -> int:
    """Return KVM's XCR0 bits under the calling process's guest permission.

    XTILE_CFG is of no use without XTILE_DATA, so a kernel offers both or none.

    :see: arch/x86/kvm/x86.h: kvm_get_filtered_xcr0
    """
    xcr0 = machine.host.kvm_xcr0 & machine.process(by).guest_perm
    alone = Behaviour.XTILE_CFG_ADVERTISED_ALONE in machine.host.behaviours
    return xcr0 if xcr0 & XFeature.XTILE_DATA.bit or alone else xcr0 & ~XTILE


def get_supported(machine: Machine, name: str) -> Step:
    """KVM_GET_SUPPORTED_CPUID; the table is kept under ``name`` for a later SET_CPUID2.

    :see: arch/x86/kvm/cpuid.c: __do_cpuid_func, leaf 0xD
    """
    xcr0 = permitted_xcr0(machine)
    fields = {XCR0_FIELD: xcr0, SIZE_FIELD: machine.host.layout.size(xcr0)}
    captured = {**machine.captured, name: GuestCpuid(xcr0)}
    rule = "supported CPUID follows guest permission (INV-10): cpuid.c: __do_cpuid_func, leaf 0xD"
    return Step(machine.but(captured=captured), Done(fields=fields), rule)


def check_xsave2(machine: Machine) -> Step:
    """KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2): bytes of the image under the caller's permission.

    :see: arch/x86/kvm/x86.c: kvm_vm_ioctl_check_extension
    """
    size = machine.host.uabi_size(permitted_xcr0(machine))
    rule = "KVM_CAP_XSAVE2 (INV-8): x86.c: kvm_vm_ioctl_check_extension"
    return Step(machine, Done(size), rule)


def set_cpuid2(machine: Machine, vcpu_name: str, table_name: str) -> Step:
    """KVM_SET_CPUID2 with a table captured before.

    The first table with XTILE_DATA replaces the guest's fpstate by a larger one, which must hold
    what the old one held.

    :see: arch/x86/kvm/cpuid.c: kvm_set_cpuid, kvm_check_cpuid;
        arch/x86/kernel/fpu/core.c: fpu_enable_guest_xfd_features;
        arch/x86/kernel/fpu/xstate.c: fpstate_realloc
    """
    table = machine.captured[table_name]
    vcpu = machine.vcpu(vcpu_name)
    if vcpu.ran:
        same = table == vcpu.cpuid
        rule = "CPUID is fixed once the guest ran (INV-12): cpuid.c: kvm_set_cpuid"
        return Step(machine, Done() if same else Failed(errno.EINVAL), rule)
    rule = "KVM_SET_CPUID2 (INV-11, INV-31, INV-32): cpuid.c: kvm_check_cpuid"
    if table.xcr0 & DYNAMIC & ~vcpu.user_xfeatures:
        if not machine.guest_perm & DYNAMIC:
            return Step(machine, Failed(errno.EPERM), rule)
        vcpu = _with_dynamic(machine, vcpu)
    vcpu = vcpu.but(cpuid=table, guest_xcr0=table.xcr0 & machine.host.kvm_xcr0)
    return Step(machine.with_vcpu(vcpu_name, vcpu), Done(), rule)


def _with_dynamic(machine: Machine, vcpu: Vcpu) -> Vcpu:
    larger = vcpu.but(
        user_xfeatures=vcpu.user_xfeatures | DYNAMIC,
        uabi_size=machine.host.uabi_size(machine.guest_perm),
    )
    if Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE not in machine.host.behaviours:
        return larger
    return larger.but(
        saved=False,
        xstate_bv=0,
        xstate_bv_open=0,
        contents={},
        stale={nr: bytes(len(content)) for nr, content in vcpu.stale.items()},
        mxcsr_mask=machine.host.mxcsr_mask,
    )
