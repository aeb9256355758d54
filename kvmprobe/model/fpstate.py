"""The guest's fpstate in memory: what it holds, and what a load and a save by hardware leave in it.

Like struct fpstate (arch/x86/include/asm/fpu/types.h).  XSTATE_BV is ``xstate_bv`` and any of
``xstate_bv_open``.  Under a bit that is clear are the bytes that were there before: hardware does
not write the components that it finds in INIT state.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.model import avx_left, x87
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.outcome import HostDies
from kvmprobe.xstate.features import FPSSE, XFeature, bitmap_of, has, names, numbers
from kvmprobe.xstate.image import MXCSR_INIT, init_content
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE
from kvmprobe.xstate.tiles import configures, inside_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile


class Fpstate(NamedTuple):
    """A guest's fpstate.

    :ivar user_xfeatures: components that user space may set
    :ivar mxcsr_mask: MXCSR_MASK in memory
    :ivar uabi_size: bytes that KVM_GET_XSAVE2 and KVM_SET_XSAVE move
    :ivar xfd: the guest's IA32_XFD
    :ivar xstate_bv: XSTATE_BV in memory, where it is certain
    :ivar xstate_bv_open: bits of it that may be 0 or 1
    :ivar contents: bytes of each component in ``xstate_bv``; of one in ``xstate_bv_open``, what it
        may have, or else INIT (PKRU aside); of others they do not matter
    :ivar stale: bytes of FP and SSE in memory while XSTATE_BV says INIT, and those of AVX where the
        processor may leave them
    :ivar stale_open: components whose bytes a save may have overwritten with INIT
    :ivar mxcsr: MXCSR in memory
    :ivar saved: hardware, not user space, wrote it last
    """

    user_xfeatures: int
    mxcsr_mask: int
    uabi_size: int = KVM_XSAVE_SIZE
    xfd: int = 0
    xstate_bv: int = 0
    xstate_bv_open: int = 0
    contents: Mapping[int, bytes] = MappingProxyType({})
    stale: Mapping[int, bytes] = MappingProxyType({})
    stale_open: int = 0
    mxcsr: int = MXCSR_INIT
    saved: bool = False

    @property
    def load_faults(self) -> int:
        """Components for which the next load raises #NM in the host: XSTATE_BV & XFD.

        :see: SDM vol.1 §13.14 "Extended Feature Disable (XFD)"
        """
        open_with_content = bitmap_of(self.contents) & self.xstate_bv_open
        return (self.xstate_bv | open_with_content) & self.xfd

    def without_armed(self) -> Fpstate:
        """Return it with every component that XFD disables in INIT state.

        :see: arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd
        """
        return self._replace(
            xstate_bv=self.xstate_bv & ~self.xfd,
            xstate_bv_open=self.xstate_bv_open & ~self.xfd,
        )

    def discarded(self) -> Fpstate:
        """Return it as a new buffer has it that nothing was copied to.

        :see: arch/x86/kernel/fpu/xstate.c: fpstate_realloc
        """
        return Fpstate(
            self.user_xfeatures,
            mxcsr_mask=0,
            uabi_size=self.uabi_size,
            xfd=self.xfd,
            stale={nr: bytes(len(content)) for nr, content in self.stale.items()},
            mxcsr=0,
        )


class Fate(Enum):
    """What a load and a save make of a component whose bit was set, if only one is legal."""

    KEPT = "bit and content stay"
    INIT = "the content is INIT, the bit may stay or go"


def content(host: HostProfile, fpstate: Fpstate, nr: int) -> bytes:
    """Return a component's content where its bit is set.

    :see: arch/x86/kernel/fpu/xstate.c: __raw_xsave_addr
    """
    found = fpstate.contents.get(nr)
    return init_content(nr, host.layout) if found is None else found


def in_standard_format(host: HostProfile) -> bool:
    """Return True if the kernel saves with XSAVE or XSAVEOPT instead of XSAVEC or XSAVES.

    :see: arch/x86/kernel/fpu/xstate.h: os_xsave
    """
    return Behaviour.STANDARD_FORMAT in host.behaviours


def guest_mxcsr(host: HostProfile, fpstate: Fpstate) -> int:
    """Return the MXCSR that the next load gives the guest: in the compacted format with SSE alone.

    :see: SDM vol.1 §13.8.1 "Standard Form of XRSTOR", §13.12 "Operation of XRSTORS"
    """
    has_mxcsr = in_standard_format(host) or fpstate.xstate_bv & XFeature.SSE.bit
    return fpstate.mxcsr if has_mxcsr else MXCSR_INIT


def loaded(host: HostProfile, fpstate: Fpstate) -> Mapping[int, bytes]:
    """Return the components that a load gives the guest and that may differ from INIT.

    KVM_SET_FPU of a kernel that ignores XSTATE_BV can leave FP and SSE under a bit that is open.
    The state there was INIT, for which CPUs write 0 to the bit, and so the load ignores the bytes.

    :see: SDM vol.1 §13.12 "Operation of XRSTORS"
    """
    return {
        nr: held
        for nr, held in fpstate.contents.items()
        if has(fpstate.xstate_bv, nr)
        or (has(fpstate.xstate_bv_open, nr) and not _is_lost(host, fpstate, nr))
    }


def _is_lost(host: HostProfile, fpstate: Fpstate, nr: int) -> bool:
    return has(FPSSE, nr) and _fate(host, fpstate, nr) is Fate.KEPT


def raw_legacy(host: HostProfile, fpstate: Fpstate, nr: int) -> tuple[bytes, ...]:
    """Return what the bytes of FP or SSE may be, whether XSTATE_BV has the bit or not.

    A save writes a component in INIT state, with its bit set, or leaves both alone.

    :see: SDM vol.1 §13.11 "Operation of XSAVES"
    """
    if has(fpstate.xstate_bv, nr):
        return (content(host, fpstate, nr),)
    found = [fpstate.stale[nr]]
    if has(fpstate.xstate_bv_open | fpstate.stale_open, nr):
        found.append(init_content(nr, host.layout))
    return tuple(dict.fromkeys(found))


def with_raw_legacy(fpstate: Fpstate, nr: int, given: bytes) -> Fpstate:
    """Write the bytes of FP or SSE, XSTATE_BV untouched.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_fpu
    """
    return fpstate._replace(
        contents={**fpstate.contents, nr: given},
        stale={**fpstate.stale, nr: given},
        stale_open=fpstate.stale_open & ~XFeature(nr).bit,
    )


def with_user_components(
    fpstate: Fpstate, xstate_bv: int, contents: Mapping[int, bytes]
) -> Fpstate:
    """Replace all user components; bytes of FP and SSE stay under a bit that becomes clear.

    :see: arch/x86/kernel/fpu/xstate.c: copy_uabi_to_xstate
    """
    stale, stale_open = _bytes_kept(fpstate)
    return fpstate._replace(
        xstate_bv=xstate_bv,
        xstate_bv_open=0,
        contents=contents,
        stale=stale,
        stale_open=stale_open,
        saved=False,
    )


def load_guest_fpu(host: HostProfile, fpstate: Fpstate) -> Fpstate | HostDies:
    """Load the guest's fpstate into registers and save it again, unless the load kills the host.

    :see: arch/x86/kvm/x86.c: kvm_load_guest_fpu, kvm_put_guest_fpu
    """
    return host_dies(fpstate) or cycle_fpu(host, fpstate)


def host_dies(fpstate: Fpstate) -> HostDies | None:
    """Return what a load does to the host if XFD disables a component that is in use.

    :see: SDM vol.1 §13.14 "Extended Feature Disable (XFD)";
        arch/x86/kernel/traps.c: exc_device_not_available
    """
    faulting = fpstate.load_faults
    if not faulting:
        return None
    return HostDies(f"XRSTORS raises #NM in the host: XSTATE_BV & XFD = {names(faulting)}")


def cycle_fpu(host: HostProfile, fpstate: Fpstate) -> Fpstate:
    """Load the guest's fpstate into registers and save it again.

    A component that is not INIT keeps its bit; one that is may keep or lose it, and one that was
    absent may gain it, with INIT content; one with XFD[i]=1 has its bit clear.

    :see: arch/x86/kernel/fpu/core.c: fpu_swap_kvm_fpstate, restore_fpregs_from_fpstate;
        SDM vol.1 §13.6 "Processor Tracking of XSAVE-Managed State"
    """
    if in_standard_format(host):
        fpstate = _with_mxcsr_moved(host, fpstate)
    fates = {nr: _fate(host, fpstate, nr) for nr in numbers(fpstate.xstate_bv & ~XFeature.PKRU.bit)}
    kept = bitmap_of(nr for nr, fate in fates.items() if fate is Fate.KEPT)
    either = bitmap_of(nr for nr, fate in fates.items() if isinstance(fate, Freedom))
    either |= fpstate.xstate_bv_open
    stale, stale_open = _bytes_kept(fpstate)
    saved = fpstate._replace(
        saved=True,
        xstate_bv=kept,
        xstate_bv_open=fpstate.user_xfeatures & ~kept & ~fpstate.xfd,
        contents={nr: held for nr, held in fpstate.contents.items() if has(kept | either, nr)},
        stale=stale,
        stale_open=stale_open,
    )
    return avx_left.after_save(host, fpstate, saved)


def _with_mxcsr_moved(host: HostProfile, fpstate: Fpstate) -> Fpstate:
    """Return it with XSTATE_BV[1] set if MXCSR is not INIT: then the save writes XMM registers too.

    :see: SDM vol.1 §13.7 "Operation of XSAVE", §13.9 "Operation of XSAVEOPT"
    """
    fpstate = fpstate._replace(mxcsr_mask=host.mxcsr_mask)
    if fpstate.mxcsr == MXCSR_INIT or fpstate.xstate_bv & XFeature.SSE.bit:
        return fpstate
    initial = init_content(XFeature.SSE, host.layout)
    return fpstate._replace(
        xstate_bv=fpstate.xstate_bv | XFeature.SSE.bit,
        contents={**fpstate.contents, XFeature.SSE: initial},
    )


def _bytes_kept(fpstate: Fpstate) -> tuple[dict[int, bytes], int]:
    """Return ``stale`` and ``stale_open`` for when the bits of FP and SSE become clear."""
    stale = {
        nr: fpstate.contents[nr] if has(fpstate.xstate_bv, nr) else held
        for nr, held in fpstate.stale.items()
    }
    return stale, (fpstate.stale_open | fpstate.xstate_bv_open) & ~fpstate.xstate_bv


def _fate(host: HostProfile, fpstate: Fpstate, nr: int) -> Fate | Freedom:
    """Return what becomes of a component, or what leaves it open which of the two."""
    held, init = content(host, fpstate, nr), init_content(nr, host.layout)
    match nr:
        case XFeature.SSE:
            in_init = held == init and fpstate.mxcsr == MXCSR_INIT
            return Fate.INIT if in_init else Fate.KEPT
        case _ if held == init:
            return Fate.INIT
        case XFeature.FP:
            return Freedom.X87_BY_POINTERS if x87.kept(host, held) == init else Fate.KEPT
        case XFeature.XTILE_CFG:
            return Fate.KEPT if configures(held) else Freedom.TILE_CONFIGURATION_ILLEGAL
        case XFeature.XTILE_DATA:
            inside = _within_tiles(fpstate, held)
            return Fate.KEPT if inside else Freedom.TILES_OUTSIDE_CONFIGURATION
        case _:
            return Fate.KEPT


def _within_tiles(fpstate: Fpstate, tiles: bytes) -> bool:
    configuration = fpstate.contents.get(XFeature.XTILE_CFG, b"")
    configured = fpstate.xstate_bv & XFeature.XTILE_CFG.bit and configures(configuration)
    return bool(configured) and inside_shapes(configuration, tiles)
