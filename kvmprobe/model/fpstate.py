"""The guest's fpstate in memory: what is in it, what a load and a save by hardware make of it.

XSTATE_BV is ``xstate_bv`` and any of ``xstate_bv_open``.  Under a bit that is clear lie the bytes
that were there before: hardware does not write the components that it finds in INIT state.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.xstate.features import SSE_YMM, XFeature, numbers
from kvmprobe.xstate.image import MXCSR_INIT, init_content, significant_x87
from kvmprobe.xstate.tiles import is_certainly_valid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu


class Fate(Enum):
    """What a load and a save make of a component whose bit was set."""

    KEPT = "bit and content stay"
    INIT = "the content is INIT, the bit may stay or go"
    EITHER = "one of the two"


def content(host: HostProfile, vcpu: Vcpu, nr: int) -> bytes:
    """Return a component's content where its bit is set.

    :see: arch/x86/kernel/fpu/xstate.c: __raw_xsave_addr
    """
    found = vcpu.contents.get(nr)
    return init_content(nr, host.layout) if found is None else found


def guest_mxcsr(vcpu: Vcpu) -> int:
    """Return the MXCSR that the next load gives the guest: it comes with SSE alone.

    :see: SDM vol.1 §13.12 "Operation of XRSTORS"
    """
    return vcpu.mxcsr if vcpu.xstate_bv & XFeature.SSE.bit else MXCSR_INIT


def raw_legacy(host: HostProfile, vcpu: Vcpu, nr: int) -> tuple[bytes, ...]:
    """Return what may lie in the bytes of FP or SSE, whatever XSTATE_BV says.

    A save writes a component in INIT state, with its bit set, or leaves both alone.

    :see: SDM vol.1 §13.11 "Operation of XSAVES"
    """
    if vcpu.xstate_bv >> nr & 1:
        return (content(host, vcpu, nr),)
    found = [vcpu.stale[nr]]
    if (vcpu.xstate_bv_open | vcpu.stale_open) >> nr & 1:
        found.append(init_content(nr, host.layout))
    return tuple(dict.fromkeys(found))


def with_raw_legacy(vcpu: Vcpu, nr: int, given: bytes) -> Vcpu:
    """Write the bytes of FP or SSE, XSTATE_BV untouched.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_fpu
    """
    return vcpu.but(
        contents={**vcpu.contents, nr: given},
        stale={**vcpu.stale, nr: given},
        stale_open=vcpu.stale_open & ~(1 << nr),
    )


def with_user_components(vcpu: Vcpu, xstate_bv: int, contents: Mapping[int, bytes]) -> Vcpu:
    """Replace all user components; bytes of FP and SSE stay under a bit that becomes clear.

    :see: arch/x86/kernel/fpu/xstate.c: copy_uabi_to_xstate
    """
    return vcpu.but(
        xstate_bv=xstate_bv,
        xstate_bv_open=0,
        contents=contents,
        saved=False,
        **_bytes_left(vcpu),
    )


def cycle_fpu(host: HostProfile, vcpu: Vcpu) -> Vcpu:
    """Load the guest's fpstate into registers and save it again.

    A component that is not INIT keeps its bit; one that is may keep or lose it, and one that was
    absent may gain it, with INIT content; one with XFD[i]=1 has its bit clear.

    :see: arch/x86/kernel/fpu/core.c: fpu_swap_kvm_fpstate, restore_fpregs_from_fpstate;
        SDM vol.1 §13.6 "Processor Tracking of XSAVE-Managed State"
    """
    fates = {nr: _fate(host, vcpu, nr) for nr in numbers(vcpu.xstate_bv & ~XFeature.PKRU.bit)}
    kept = sum(1 << nr for nr, fate in fates.items() if fate is Fate.KEPT)
    either = sum(1 << nr for nr, fate in fates.items() if fate is Fate.EITHER)
    either |= vcpu.xstate_bv_open
    return vcpu.but(
        saved=True,
        xstate_bv=kept,
        xstate_bv_open=vcpu.user_xfeatures & ~kept & ~vcpu.xfd,
        contents={nr: held for nr, held in vcpu.contents.items() if (kept | either) >> nr & 1},
        **_bytes_left(vcpu),
    )


def _bytes_left(vcpu: Vcpu) -> dict[str, object]:
    """Return what lies in the bytes of FP and SSE, should their bits become clear."""
    return {
        "stale": {
            nr: vcpu.contents[nr] if vcpu.xstate_bv >> nr & 1 else held
            for nr, held in vcpu.stale.items()
        },
        "stale_open": (vcpu.stale_open | vcpu.xstate_bv_open) & ~vcpu.xstate_bv,
    }


def _fate(host: HostProfile, vcpu: Vcpu, nr: int) -> Fate:
    held, init = content(host, vcpu, nr), init_content(nr, host.layout)
    match nr:
        case XFeature.SSE:
            in_init = held == init and vcpu.mxcsr == MXCSR_INIT
            return Fate.INIT if in_init else Fate.KEPT
        case _ if held == init:
            return Fate.INIT
        case XFeature.FP:
            # UNSPECIFIED: AMD does not save FOP, FIP and FDP; the padding is reserved.
            return Fate.EITHER if significant_x87(held) == init else Fate.KEPT
        case XFeature.XTILE_CFG:
            # UNSPECIFIED: SDM vol.1 §13.12: an invalid configuration is loaded as INIT.
            return Fate.KEPT if is_certainly_valid(held) else Fate.EITHER
        case XFeature.XTILE_DATA:
            # UNSPECIFIED: whether tiles keep data while none is configured.
            return Fate.KEPT if _tiles_configured(vcpu) else Fate.EITHER
        case _:
            return Fate.KEPT


def _tiles_configured(vcpu: Vcpu) -> bool:
    return bool(vcpu.xstate_bv & XFeature.XTILE_CFG.bit) and is_certainly_valid(
        vcpu.contents.get(XFeature.XTILE_CFG, b"")
    )


def resolved(host: HostProfile, vcpu: Vcpu, visible: int) -> tuple[Vcpu, ...]:
    """Return the vCPU with those open bits decided either way that content goes with.

    What stays open has INIT content, whether its bit is set or clear.

    :see: SDM vol.1 §13.6 "Processor Tracking of XSAVE-Managed State"
    """
    found: tuple[Vcpu, ...] = (vcpu,)
    for nr in numbers(vcpu.xstate_bv_open & visible):
        found = tuple(choice for one in found for choice in _decided(host, one, nr))
    return found


def _decided(host: HostProfile, vcpu: Vcpu, nr: int) -> tuple[Vcpu, ...]:
    bit = 1 << nr
    is_set = vcpu.but(xstate_bv=vcpu.xstate_bv | bit, xstate_bv_open=vcpu.xstate_bv_open & ~bit)
    is_clear = vcpu.but(xstate_bv_open=vcpu.xstate_bv_open & ~bit)
    if nr == XFeature.PKRU:
        return (is_set, is_clear) if vcpu.pkru else (vcpu,)
    init = {other: held for other, held in vcpu.contents.items() if other != nr}
    mxcsr_stale = (vcpu.mxcsr, vcpu.mxcsr_mask) != (MXCSR_INIT, host.mxcsr_mask)
    if mxcsr_stale and nr == XFeature.SSE:
        # A save that sets the bit of SSE writes MXCSR, which was INIT.
        written = is_set.but(mxcsr=MXCSR_INIT, mxcsr_mask=host.mxcsr_mask)
        with_content = (written,) if nr in vcpu.contents else ()
        return (is_clear, written.but(contents=init), *with_content)
    if mxcsr_stale and nr == XFeature.YMM and not vcpu.xstate_bv & XFeature.SSE.bit:
        return (is_clear, is_set)
    if nr in vcpu.contents:
        return (is_set, vcpu.but(contents=init))
    return (vcpu,)


def exported_mxcsr(host: HostProfile, vcpu: Vcpu, visible: int) -> tuple[tuple[int, int], ...]:
    """Return the MXCSR and MXCSR_MASK that an image may show; the open bits are decided.

    :see: arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf
    """
    stored, init = (vcpu.mxcsr, vcpu.mxcsr_mask), (MXCSR_INIT, host.mxcsr_mask)
    if not vcpu.xstate_bv & visible & SSE_YMM:
        return (init,)
    earlier = vcpu.saved and vcpu.stale_open & ~vcpu.xstate_bv & XFeature.SSE.bit
    return tuple(dict.fromkeys((stored, init))) if earlier else (stored,)
