"""A vCPU's state saved by ioctls and restored into another, in the kernel's own bytes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model import cet, msr, sregs, uabi, xcr
from kvmprobe.model.exported import fullest_image, visible_features
from kvmprobe.model.outcome import Done, Step
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.model.state import State
from kvmprobe.model.vcpu_state import known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.machine import Machine, Vcpu


class Part(StrEnum):
    """What one pair of ioctls moves."""

    REGS = "regs"
    SREGS = "sregs"
    XCRS = "xcrs"
    XSAVE = "xsave"
    MSRS = "msrs"
    OTHER_MSRS = "other-msrs"
    XSS_MSRS = "xss-msrs"
    CET_MSRS = "cet-msrs"
    EVENTS = "events"
    DEBUGREGS = "debugregs"


# A monitor's list; a list that lacks an MSR leaves it as it is in a new vCPU.
MSR_LISTS: Mapping[Part, tuple[Msr, ...]] = {
    Part.MSRS: (Msr.IA32_XFD, Msr.IA32_XFD_ERR, Msr.IA32_XSS),
    Part.OTHER_MSRS: (Msr.IA32_PAT,),
    Part.XSS_MSRS: (Msr.IA32_PAT, Msr.IA32_XSS),
    Part.CET_MSRS: (Msr.IA32_PAT, Msr.IA32_XSS, *sorted(cet.MSRS)),
}

SAVE = Rule(
    "a GET ioctl returns the vCPU's state",
    (),
    (KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl"),),
)


def save(machine: Machine, vcpu_name: str, part: Part) -> Step:
    """Read one part of a vCPU's state, to restore it elsewhere.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
    """
    kept = {**machine.moved, (vcpu_name, part): machine.vcpu(vcpu_name)}
    step = _told(machine, vcpu_name, part)
    return Step(step.machine._replace(moved=kept), step.outcome, step.rule)


RESTORE = Rule(
    "what a GET ioctl returned for one vCPU the SET ioctl accepts for another",
    (),
    (KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl"),),
)


def restore(machine: Machine, vcpu_name: str, part: Part, source: str) -> Step:
    """Write one part of what another vCPU had.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
    """
    had = machine.moved[source, part]
    vcpu = machine.vcpu(vcpu_name)
    if part in MSR_LISTS:
        read = [(index, msr.read(machine.host, had, index) or 0) for index in MSR_LISTS[part]]
        return msr.set_msrs(machine, vcpu_name, read)
    match part:
        case Part.XSAVE:
            return _restore_image(machine, vcpu_name, had)
        case Part.XCRS:
            return xcr.set_xcr0(machine, vcpu_name, had.xcr0)
        case Part.SREGS:
            return sregs.restore_sregs(machine, vcpu_name, had)
        case Part.REGS:
            vcpu = _with_state(vcpu, State.REGS, had)._replace(in_payload=had.in_payload)
        case Part.EVENTS:
            vcpu = _with_state(vcpu, State.EVENTS, had)
        case Part.DEBUGREGS:
            vcpu = _with_state(vcpu, State.DEBUGREGS, had)
        case _:
            pass
    return Step(machine.with_vcpu(vcpu_name, vcpu), Done(), RESTORE)


def _with_state(vcpu: Vcpu, state: State, had: Vcpu) -> Vcpu:
    """Return a vCPU with a state of another one; what is not known of that, is not of this one."""
    if had.entered:
        return vcpu._replace(entered=True)
    return vcpu._replace(state={**vcpu.state, state: known(had, state)})


def restore_plain(machine: Machine, vcpu_name: str, part: Part) -> Step:
    """Write a part of which the model has no values: of REGS, that they are the payload's.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
    """
    vcpu = machine.vcpu(vcpu_name)
    if part is Part.REGS:
        vcpu = vcpu._replace(in_payload=True)
    return Step(machine.with_vcpu(vcpu_name, vcpu), Done(), RESTORE)


def _told(machine: Machine, vcpu_name: str, part: Part) -> Step:
    if part in MSR_LISTS:
        return msr.get_msrs(machine, vcpu_name, MSR_LISTS[part])
    match part:
        case Part.XSAVE:
            return uabi.get_xsave2(machine, vcpu_name)
        case Part.XCRS:
            return xcr.get_xcr0(machine, vcpu_name)
        case Part.SREGS:
            return sregs.get_sregs(machine, vcpu_name)
        case _:
            return Step(machine, Done(), SAVE)


def _restore_image(machine: Machine, vcpu_name: str, had: Vcpu) -> Step:
    """Restore the fullest of the images that the other vCPU may have given.

    The memory that it was read into has room for the image of any vCPU of the host.  Bits that were
    open there are so here, unless XFD is armed; PKRU is taken to be in use by the host, and so in
    the image.
    """
    room = machine.host.uabi_size(machine.host.user_features)
    image = fullest_image(machine.host, had).ljust(room, b"\0")
    step = uabi.set_xsave(machine, vcpu_name, image)
    vcpu = step.machine.vcpu(vcpu_name)
    open_bits = had.fpstate.xstate_bv_open & visible_features(had) & ~vcpu.xfd
    certain = vcpu.fpstate.xstate_bv & ~open_bits
    fpstate = vcpu.fpstate._replace(xstate_bv=certain, xstate_bv_open=open_bits)
    vcpu = vcpu._replace(fpstate=fpstate)
    return Step(step.machine.with_vcpu(vcpu_name, vcpu), step.outcome, step.rule)
