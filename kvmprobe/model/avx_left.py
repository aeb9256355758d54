"""SSE and AVX state in INIT that a save leaves as older bytes, under bits that it sets.

Of AMD processors with AVX-512; ``Freedom.AVX_LEFT`` has the grounds.  The guest then goes on with
the older bytes, or with INIT: neither the model nor an image says which, until it is set again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.xstate.features import SSE_YMM, XFeature, numbers
from kvmprobe.xstate.image import FP_INIT, SSE_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.fpstate import Fpstate
    from kvmprobe.model.host import HostProfile


def bytes_at_creation(host: HostProfile) -> Mapping[int, bytes]:
    """Return ``stale`` of a new fpstate: the bytes in memory that later answers depend on.

    :see: arch/x86/kernel/fpu/core.c: fpstate_init_user
    """
    legacy: dict[int, bytes] = {XFeature.FP: FP_INIT, XFeature.SSE: bytes(SSE_SIZE)}
    if not host.may_leave_avx:
        return legacy
    return legacy | {XFeature.YMM: bytes(host.layout.component(XFeature.YMM).size)}


def after_save(host: HostProfile, loaded: Fpstate, saved: Fpstate) -> Fpstate:
    """Return what a save may leave after a load, both of the same memory.

    :param loaded: what the load found
    :param saved: what the save leaves on other processors
    :see: SDM vol.1 §13.6 "Processor Tracking of XSAVE-Managed State"
    """
    in_use = loaded.xstate_bv | loaded.xstate_bv_open
    if not (host.may_leave_avx and in_use & XFeature.ZMM_HI256.bit):
        return saved
    left = {
        nr: saved.stale[nr]
        for nr in numbers(saved.xstate_bv_open & SSE_YMM)
        if any(saved.stale[nr])
    }
    return saved._replace(contents={**left, **saved.contents}) if left else saved


def after_guest_code(host: HostProfile, fpstate: Fpstate) -> Fpstate:
    """Return what a save finds after guest code, which may have left ZMM_Hi256 in use, with zeros.

    :see: SDM vol.1 §13.6 "Processor Tracking of XSAVE-Managed State"
    """
    if not host.may_leave_avx:
        return fpstate
    in_use = XFeature.ZMM_HI256.bit & fpstate.user_xfeatures & ~fpstate.xstate_bv
    return fpstate._replace(xstate_bv_open=fpstate.xstate_bv_open | in_use)


def may_show(host: HostProfile, fpstate: Fpstate) -> bool:
    """Return True if older bytes may be the guest's state now.

    :see: SDM vol.1 §13.6 "Processor Tracking of XSAVE-Managed State"
    """
    left = numbers(fpstate.xstate_bv_open & SSE_YMM)
    return host.may_leave_avx and any(nr in fpstate.contents for nr in left)
