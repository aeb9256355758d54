"""Defects of a kernel that nothing in kvmprobe knows: what each changes in a step of the model.

A fake kernel makes the change; the judge's model does not.
"""

from __future__ import annotations

import errno

from kvmprobe.model.outcome import Done, Failed
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import SetXsave
from kvmprobe.xstate.features import DYNAMIC, FPSSE, XFeature

OSXSAVE = 1 << 18
AVX = XFeature.YMM.bit


def name_of(op):
    return getattr(op, "vcpu", "vcpu0")


def with_vcpu(step, op, **changes):
    vcpu = step.machine.vcpu(name_of(op))
    return step._replace(machine=step.machine.with_vcpu(name_of(op), vcpu._replace(**changes)))


def succeeded(step):
    return isinstance(step.outcome, Done)


def lowering_xcr0_drops_avx_state(op, before, step):
    if not (isinstance(op, SetXcrs) and succeeded(step)):
        return step
    vcpu = step.machine.vcpu(name_of(op))
    if not before.vcpu(name_of(op)).xcr0 & ~vcpu.xcr0 & AVX:
        return step
    state = vcpu.fpstate
    return with_vcpu(step, op, fpstate=state._replace(xstate_bv=state.xstate_bv & ~AVX))


def a_second_cpuid_resets_xcr0(op, before, step):
    second = op.interface == "KVM_SET_CPUID2" and before.vcpu(name_of(op)).cpuid is not None
    return with_vcpu(step, op, xcr0=1) if second and succeeded(step) else step


def an_image_of_nothing_is_ignored(op, before, step):
    nothing = isinstance(op, SetXsave) and not op.xstate_bv and succeeded(step)
    return with_vcpu(step, op, fpstate=before.vcpu(name_of(op)).fpstate) if nothing else step


def set_fpu_resets_other_components(op, _before, step):
    if op.interface != "KVM_SET_FPU" or not succeeded(step):
        return step
    state = step.machine.vcpu(name_of(op)).fpstate
    return with_vcpu(step, op, fpstate=state._replace(xstate_bv=state.xstate_bv & FPSSE))


def reading_the_image_clears_xfd_err(op, _before, step):
    return with_vcpu(step, op, xfd_err=0) if op.interface == "KVM_GET_XSAVE2" else step


def a_kick_loses_pkru(op, _before, step):
    return with_vcpu(step, op, pkru=0) if isinstance(op, RunImmediateExit) else step


def avx_without_sse_is_accepted(op, _before, step):
    wrong = isinstance(op, SetXcrs) and isinstance(step.outcome, Failed)
    if not wrong or op.xcr0 & (AVX | XFeature.SSE.bit) != AVX or not op.xcr0 & 1:
        return step
    return with_vcpu(step._replace(outcome=Done()), op, xcr0=op.xcr0)


def a_refused_xfd_is_kept(op, _before, step):
    refused = isinstance(op, SetXfd) and step.outcome == Done()
    if not refused or not op.xfd & DYNAMIC:
        return step
    state = step.machine.vcpu(name_of(op)).fpstate
    return with_vcpu(step, op, fpstate=state._replace(xfd=DYNAMIC))


def permission_is_granted_after_a_vcpu(op, _before, step):
    late = isinstance(op, RequestGuestPermission) and step.outcome == Failed(errno.EBUSY)
    return step._replace(outcome=Done()) if late else step


def setting_sregs_drops_osxsave(op, _before, step):
    if op.interface != "KVM_SET_SREGS" or not succeeded(step):
        return step
    return with_vcpu(step, op, cr4=step.machine.vcpu(name_of(op)).cr4 & ~OSXSAVE)


def a_second_vcpu_has_the_xcr0_of_the_first(op, before, step):
    others = [*before.vcpus.values()]
    if not isinstance(op, CreateVcpu) or not others or op.vcpu not in step.machine.vcpus:
        return step
    return with_vcpu(step, op, xcr0=others[0].xcr0)


def xfd_is_ignored_while_xcr0_lacks_tiles(op, before, step):
    if not isinstance(op, SetXfd) or not succeeded(step) or not step.outcome.value:
        return step
    vcpu = before.vcpu(name_of(op))
    lacks = not vcpu.xcr0 & XFeature.XTILE_DATA.bit
    return with_vcpu(step, op, fpstate=vcpu.fpstate) if lacks else step


DEFECTS = (
    lowering_xcr0_drops_avx_state,
    a_second_cpuid_resets_xcr0,
    an_image_of_nothing_is_ignored,
    set_fpu_resets_other_components,
    reading_the_image_clears_xfd_err,
    a_kick_loses_pkru,
    avx_without_sse_is_accepted,
    a_refused_xfd_is_kept,
    permission_is_granted_after_a_vcpu,
    setting_sregs_drops_osxsave,
    a_second_vcpu_has_the_xcr0_of_the_first,
    xfd_is_ignored_while_xcr0_lacks_tiles,
)
