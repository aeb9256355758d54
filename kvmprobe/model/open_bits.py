"""The bits of XSTATE_BV that a save leaves open, decided: the contents that an image may show.

What stays open has INIT content, whether its bit is set or clear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model import avx_left
from kvmprobe.xstate.features import SSE_YMM, XFeature, numbers
from kvmprobe.xstate.image import MXCSR_INIT

if TYPE_CHECKING:
    from kvmprobe.model.fpstate import Fpstate
    from kvmprobe.model.host import HostProfile


def resolved(host: HostProfile, fpstate: Fpstate, visible: int, pkru: int) -> tuple[Fpstate, ...]:
    """Return the fpstate with those open bits decided either way that content goes with.

    :param pkru: the guest's PKRU, which is not in its fpstate

    :see: SDM vol.1 §13.6 "Processor Tracking of XSAVE-Managed State"
    """
    found: tuple[Fpstate, ...] = (fpstate,)
    for nr in numbers(fpstate.xstate_bv_open & visible):
        found = tuple(choice for one in found for choice in _decided(host, one, nr, pkru))
    return found


def _decided(host: HostProfile, fpstate: Fpstate, nr: int, pkru: int) -> tuple[Fpstate, ...]:
    if nr == XFeature.PKRU:
        # Without the bit the image would lack the guest's value; the host's own PKRU, which a
        # save finds in the register, is not 0 (arch/x86/mm/pkeys.c: init_pkru_value).
        return (_set(fpstate, nr),) if pkru else (fpstate,)
    mxcsr_stale = (fpstate.mxcsr, fpstate.mxcsr_mask) != (MXCSR_INIT, host.mxcsr_mask)
    if mxcsr_stale and nr == XFeature.SSE:
        # A save that sets the bit of SSE writes MXCSR, which was INIT.
        written = _set(fpstate, nr)._replace(mxcsr=MXCSR_INIT, mxcsr_mask=host.mxcsr_mask)
        with_content = (written,) if nr in fpstate.contents else ()
        # MXCSR is left with the bytes: a save that writes no SSE state need not write it.
        left = (_set(fpstate, nr),) if avx_left.may_show(host, fpstate) else ()
        return (_clear(fpstate, nr), _with_init(written, nr), *with_content, *left)
    if mxcsr_stale and nr == XFeature.YMM and not fpstate.xstate_bv & XFeature.SSE.bit:
        written = _set(fpstate, nr)
        with_content = (_with_init(written, nr),) if nr in fpstate.contents else ()
        return (_clear(fpstate, nr), written, *with_content)
    if nr in fpstate.contents:
        return (_set(fpstate, nr), _with_init(fpstate, nr))
    return (fpstate,)


def _set(fpstate: Fpstate, nr: int) -> Fpstate:
    bit = XFeature(nr).bit
    return fpstate._replace(
        xstate_bv=fpstate.xstate_bv | bit, xstate_bv_open=fpstate.xstate_bv_open & ~bit
    )


def _clear(fpstate: Fpstate, nr: int) -> Fpstate:
    return fpstate._replace(xstate_bv_open=fpstate.xstate_bv_open & ~XFeature(nr).bit)


def _with_init(fpstate: Fpstate, nr: int) -> Fpstate:
    contents = {other: held for other, held in fpstate.contents.items() if other != nr}
    return fpstate._replace(contents=contents)


def exported_mxcsr(
    host: HostProfile, fpstate: Fpstate, visible: int
) -> tuple[tuple[int, int], ...]:
    """Return the MXCSR and MXCSR_MASK that an image may show; the open bits are decided.

    :see: arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf
    """
    stored, init = (fpstate.mxcsr, fpstate.mxcsr_mask), (MXCSR_INIT, host.mxcsr_mask)
    if not fpstate.xstate_bv & visible & SSE_YMM:
        return (init,)
    earlier = fpstate.saved and fpstate.stale_open & ~fpstate.xstate_bv & XFeature.SSE.bit
    return tuple(dict.fromkeys((stored, init))) if earlier else (stored,)
