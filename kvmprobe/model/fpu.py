"""The legacy view of x87 and SSE: KVM_SET_FPU and KVM_GET_FPU.

It is one state with the uabi image.  MXCSR is no part of it: neither call reads or writes that.
"""

from __future__ import annotations

import errno
from itertools import product
from typing import TYPE_CHECKING

from kvmprobe.model import x87
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.fpstate import content, raw_legacy, with_raw_legacy
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.outcome import Done, ExpectedBytes, Failed, Step, Unspecified, one_of
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.xstate.features import FPSSE, SSE_YMM, XFeature, has
from kvmprobe.xstate.fpu_area import FCW, FPU_SIZE, REGISTERS, from_area, to_area
from kvmprobe.xstate.image import MXCSR_INIT, init_content
from kvmprobe.xstate.layout import X87_ENVIRONMENT, X87_REGISTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.fpstate import Fpstate
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine

FCW_FIELD = "FCW"


SET_FPU = Rule(
    "KVM_SET_FPU sets what KVM_GET_XSAVE2 returns",
    (),
    (KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl_set_fpu"),),
    sections=("7.4",),
)


def set_fpu(machine: Machine, vcpu_name: str, area: bytes) -> Step:
    """KVM_SET_FPU: x87 and SSE registers become what is given, MXCSR stays as it was.

    Memory after ``area`` cannot be read.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_fpu
    """
    if len(area) < FPU_SIZE:
        return Step(machine, Failed(errno.EFAULT), SET_FPU)
    vcpu = machine.vcpu(vcpu_name)
    fpstate = vcpu.fpstate
    fp, sse = from_area(area)
    given: dict[int, bytes] = {XFeature.FP: fp, XFeature.SSE: sse}
    for nr, held in given.items():
        fpstate = with_raw_legacy(fpstate, nr, held)
    if Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV not in machine.host.behaviours:
        fpstate = _in_effect(machine.host, fpstate, given)
    return Step(machine.with_vcpu(vcpu_name, vcpu._replace(fpstate=fpstate)), Done(), SET_FPU)


def _in_effect(host: HostProfile, fpstate: Fpstate, given: Mapping[int, bytes]) -> Fpstate:
    if not fpstate.xstate_bv & SSE_YMM:
        fpstate = fpstate._replace(mxcsr=MXCSR_INIT, mxcsr_mask=host.mxcsr_mask)
    return fpstate._replace(
        xstate_bv=fpstate.xstate_bv | FPSSE,
        xstate_bv_open=fpstate.xstate_bv_open & ~FPSSE,
        contents={**fpstate.contents, **given},
    )


GET_FPU = Rule(
    "KVM_GET_FPU returns what KVM_GET_XSAVE2 returns",
    (),
    (KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl_get_fpu"),),
    sections=("7.4",),
)


def get_fpu(machine: Machine, vcpu_name: str, room: int = FPU_SIZE) -> Step:
    """KVM_GET_FPU: what the legacy area of KVM_GET_XSAVE2 shows, and 0 for MXCSR.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu
    """
    if room < FPU_SIZE:
        return Step(machine, Failed(errno.EFAULT), GET_FPU)
    host, fpstate = machine.host, machine.vcpu(vcpu_name).fpstate
    ignores = Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV in host.behaviours
    held = raw_legacy if ignores else _legacy
    choices = tuple(
        _area(host, fpstate, fp, sse)
        for fp, sse in product(held(host, fpstate, XFeature.FP), held(host, fpstate, XFeature.SSE))
    )
    return Step(machine, one_of(choices, Freedom.LEGACY_AFTER_SAVE), GET_FPU)


def _legacy(host: HostProfile, fpstate: Fpstate, nr: int) -> tuple[bytes, ...]:
    init = init_content(nr, host.layout)
    if has(fpstate.xstate_bv, nr):
        return (content(host, fpstate, nr),)
    return (fpstate.contents[nr], init) if nr in fpstate.contents else (init,)


def _area(host: HostProfile, fpstate: Fpstate, fp: bytes, sse: bytes) -> Done:
    area = to_area(fp, sse)
    rewritten = fpstate.saved or not fpstate.xstate_bv & XFeature.FP.bit
    places = tuple(map(_in_area, x87.unspecified(host, fp))) if rewritten else ()
    fcw = int.from_bytes(area[FCW.start : FCW.stop], "little")
    open_fcw = next((int.from_bytes(u.bits[:2], "little") for u in places if u.offset == 128), 0)
    return Done(
        fields={FCW_FIELD: fcw},
        open_fields={FCW_FIELD: open_fcw} if open_fcw else {},
        freedom=Freedom.X87_RESERVED if open_fcw else None,
        memory=ExpectedBytes(0, area, places),
    )


def _in_area(place: Unspecified) -> Unspecified:
    """Move a place within an XSAVE image to where ``struct kvm_fpu`` has it."""
    in_environment = place.offset in X87_ENVIRONMENT
    shift = REGISTERS.stop if in_environment else -X87_REGISTERS.start
    return place._replace(offset=place.offset + shift)
