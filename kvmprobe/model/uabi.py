"""The uabi image: KVM_SET_XSAVE, KVM_GET_XSAVE and KVM_GET_XSAVE2.

Shaped like arch/x86/kernel/fpu/core.c: fpu_copy_uabi_to_guest_fpstate.  Leaves out hosts without
XSAVE and confidential guests.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.exported import exported
from kvmprobe.model.fpstate import with_user_components
from kvmprobe.model.outcome import Done, Failed, Step
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.xstate.features import FPSSE, SSE_YMM, XFeature
from kvmprobe.xstate.image import XsaveFields, contents_in, decode
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu

_MXCSR_USERS = XFeature.FP.bit | SSE_YMM
_AMPLE = 1 << 20


READ_IMAGE = Rule(
    "KVM_SET_XSAVE reads the whole image of the vCPU before it checks it",
    ("INV-14",),
    (KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl"),),
)

SET_XSAVE = Rule(
    "KVM_SET_XSAVE checks the image before any change and drops components with XFD[i]=1",
    ("INV-18", "INV-19", "INV-28"),
    (
        KernelSource(KernelFile.FPU_CORE, "fpu_copy_uabi_to_guest_fpstate"),
        KernelSource(KernelFile.FPU_XSTATE, "copy_uabi_to_xstate"),
        KernelSource(KernelFile.FPU_XSTATE, "validate_user_xstate_header"),
        KernelSource(KernelFile.KVM_X86, "kvm_vcpu_ioctl_x86_set_xsave"),
    ),
)


def set_xsave(machine: Machine, vcpu_name: str, image: bytes) -> Step:
    """KVM_SET_XSAVE: all checks precede any change; components not in XSTATE_BV become INIT.

    A component with XFD[i]=1 is dropped silently, as if its XSTATE_BV bit were clear.  Memory
    after ``image`` cannot be read.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_set_xsave;
        arch/x86/kernel/fpu/core.c: fpu_copy_uabi_to_guest_fpstate;
        arch/x86/kernel/fpu/xstate.c: copy_uabi_to_xstate, validate_user_xstate_header
    """
    host, vcpu = machine.host, machine.vcpu(vcpu_name)
    size = vcpu.fpstate.uabi_size
    if len(image) < size:
        return Step(machine, Failed(errno.EFAULT), READ_IMAGE)
    given = decode(image[:size], host.layout)
    xstate_bv = given.xstate_bv
    if Behaviour.SET_XSAVE_KEEPS_XFD_ARMED not in host.behaviours:
        xstate_bv &= ~vcpu.xfd
    if _refused(host, vcpu, given, xstate_bv):
        return Step(machine, Failed(errno.EINVAL), SET_XSAVE)
    fpstate = with_user_components(vcpu.fpstate, xstate_bv, contents_in(xstate_bv, given))
    if xstate_bv & _MXCSR_USERS:
        fpstate = fpstate._replace(mxcsr=given.mxcsr, mxcsr_mask=given.mxcsr_mask)
    vcpu = vcpu._replace(fpstate=fpstate)
    if xstate_bv & XFeature.PKRU.bit:
        vcpu = vcpu._replace(pkru=struct.unpack_from("=I", given.contents[XFeature.PKRU])[0])
    return Step(machine.with_vcpu(vcpu_name, vcpu), Done(), SET_XSAVE)


def _refused(host: HostProfile, vcpu: Vcpu, given: XsaveFields, xstate_bv: int) -> bool:
    return bool(
        xstate_bv & ~_settable(host, vcpu)
        or given.xcomp_bv
        or any(given.reserved)
        or (xstate_bv & _MXCSR_USERS and given.mxcsr & ~host.mxcsr_mask)
    )


def _settable(host: HostProfile, vcpu: Vcpu) -> int:
    settable = host.kvm_xcr0 & vcpu.fpstate.user_xfeatures
    limited = Behaviour.SET_XSAVE_LIMITED_BY_CPUID in host.behaviours and vcpu.cpuid is not None
    return settable & (vcpu.guest_xcr0 | FPSSE) if limited else settable


GET_XSAVE2 = Rule(
    "KVM_GET_XSAVE2 returns the guest's state in the standard format",
    ("INV-14", "INV-15", "INV-16", "INV-17", "INV-20", "INV-21", "INV-22", "INV-33"),
    (
        KernelSource(KernelFile.FPU_XSTATE, "__copy_xstate_to_uabi_buf"),
        KernelSource(KernelFile.KVM_X86, "kvm_vcpu_ioctl_x86_get_xsave2"),
    ),
)


def get_xsave2(machine: Machine, vcpu_name: str, room: int = _AMPLE) -> Step:
    """KVM_GET_XSAVE2: exactly ``uabi_size`` bytes, into a buffer of ``room`` bytes.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_xsave2
    """
    vcpu = machine.vcpu(vcpu_name)
    if room < vcpu.fpstate.uabi_size:
        return Step(machine, Failed(errno.EFAULT), GET_XSAVE2)
    return Step(machine, exported(machine.host, vcpu), GET_XSAVE2)


GET_XSAVE = Rule(
    "KVM_GET_XSAVE works until the image is larger than 4096 bytes",
    ("INV-13",),
    (KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl"),),
)


def get_xsave(machine: Machine, vcpu_name: str, room: int = _AMPLE) -> Step:
    """KVM_GET_XSAVE: 4096 bytes, and none of a vCPU whose image is larger, ever after.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl, KVM_GET_XSAVE
    """
    vcpu = machine.vcpu(vcpu_name)
    if vcpu.fpstate.uabi_size > KVM_XSAVE_SIZE:
        return Step(machine, Failed(errno.EINVAL), GET_XSAVE)
    return Step(machine, get_xsave2(machine, vcpu_name, room).outcome, GET_XSAVE)
