"""State that a guest reads and sets, compared with what the ioctls restore and return.

For each component, guest and ioctls read the same value, whichever of the two wrote it last.  Each
step is one KVM_RUN, followed by the ioctls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.payload import PayloadOp
from kvmprobe.model.guest_vector import VectorFile
from kvmprobe.model.guest_xsave import COMPACTED, RestoreForm, SaveForm
from kvmprobe.scenarios.catalog import guest_cet, guest_faults, guest_kept, guest_xfd
from kvmprobe.scenarios.catalog._guests import (
    AVX,
    AVX512_ALL,
    LEGACY,
    PLAIN,
    TILES,
    USE_XSAVE,
    USE_XSAVE_AND_PKRU,
    Start,
    all_of,
    run,
    scenario,
)
from kvmprobe.scenarios.ops.fpu import FpuContent, GetFpu, SetFpu
from kvmprobe.scenarios.ops.guest_control import GuestLdmxcsr, GuestWrpkru, GuestXgetbv
from kvmprobe.scenarios.ops.guest_tiles import (
    GuestLdtilecfg,
    GuestTileloadd,
    GuestTilestored,
    GuestTilezero,
)
from kvmprobe.scenarios.ops.guest_vector import GuestFld, GuestFldcw, GuestLoad, GuestStore
from kvmprobe.scenarios.ops.guest_xsave import GuestFxrstor, GuestFxsave, GuestXrstor, GuestXsave
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import SetXsave, SetXsaveImage
from kvmprobe.xstate.features import XTILE, XFeature
from kvmprobe.xstate.malformations import Malformation

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_PKRU = XFeature.PKRU.bit
_STARTS = (PLAIN, TILES)
_SEEN_MXCSR = 0x1FA0
_PKRU_VALUES = (0xC, 0x5555_5554, 0xFFFF_FFFC, 0)


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the family."""
    return (
        *_restored(host),
        *_loaded(host),
        *_saved_by_guest(host),
        *_restored_by_guest(host),
        *_mxcsr(),
        *_x87(),
        *_tiles(),
        *_pkru(),
        *guest_xfd.scenarios(),
        *guest_faults.scenarios(host),
        *guest_kept.scenarios(),
        *guest_cet.scenarios(),
    )


def _reads(file: VectorFile) -> tuple[Op, ...]:
    return (GuestStore(file),)


_LOOKS: dict[str, tuple[Op, ...]] = {
    "x87": (*run(PayloadOp.FNSTCW, PayloadOp.FNSTSW), GuestFxsave(), *run(PayloadOp.FSTP)),
    "xmm": (GuestStore(VectorFile.XMM), *run(PayloadOp.STMXCSR)),
    "ymm": _reads(VectorFile.YMM),
    "zmm": (*_reads(VectorFile.ZMM), *_reads(VectorFile.K)),
}


def _restored(host: HostProfile) -> tuple[Scenario, ...]:
    """SET_XSAVE and SET_XCRS in either order, before the first entry and after it."""
    every = all_of(host, PLAIN)
    image, xcr0 = SetXsave(AVX512_ALL), SetXcrs(every)
    orders: dict[str, tuple[Op, ...]] = {
        "image-xcr0-entry": (image, xcr0, USE_XSAVE),
        "xcr0-image-entry": (xcr0, image, USE_XSAVE),
        "image-entry-xcr0": (image, USE_XSAVE, xcr0),
        "entry-image-xcr0": (USE_XSAVE, image, xcr0),
        "entry-xcr0-image": (USE_XSAVE, xcr0, image),
    }
    looks = _LOOKS["xmm"] + _LOOKS["ymm"] + _LOOKS["zmm"] + _LOOKS["x87"]
    tiles = all_of(host, TILES)
    return (
        *(scenario(f"restored-{name}", PLAIN, (*ops, *looks)) for name, ops in orders.items()),
        *(
            scenario(
                f"restored-alone-{name}",
                PLAIN,
                (USE_XSAVE, xcr0, SetXsave(1 << nr), *looks, RunImmediateExit(), *looks[:4]),
            )
            for nr, name in enumerate(("fp", "sse", "ymm"))
        ),
        scenario(
            "restored-tiles",
            TILES,
            (
                USE_XSAVE,
                SetXcrs(tiles),
                SetXsave(XTILE),
                *run(PayloadOp.STTILECFG),
                *(GuestTilestored(tile) for tile in range(8)),
                SetXsave(LEGACY),
                *run(PayloadOp.STTILECFG),
            ),
        ),
        scenario(
            "replaced",
            TILES,
            (
                USE_XSAVE,
                SetXcrs(tiles),
                GuestXrstor(tiles),
                SetXsave(LEGACY),
                GuestXsave(),
                SetXsave(tiles),
                GuestXsave(),
                SetXsave(0),
                GuestXsave(),
            ),
        ),
    )


def _loaded(host: HostProfile) -> tuple[Scenario, ...]:
    """Read what the guest has loaded, with GET_XSAVE2 and in the guest at the next entry."""
    begin = (SetXcrs(all_of(host, PLAIN)), USE_XSAVE)
    clear = run(PayloadOp.VZEROUPPER, PayloadOp.VZEROALL)
    return tuple(
        scenario(
            f"loaded-{file.name.lower()}",
            PLAIN,
            (
                *begin,
                GuestLoad(file),
                GuestStore(file),
                GuestXgetbv(1),
                SetXcrs(1),
                GuestXgetbv(1),
                SetXcrs(all_of(host, PLAIN)),
                *clear,
                GuestStore(file),
            ),
        )
        for file in VectorFile
    )


def _enabled(host: HostProfile, start: Start) -> tuple[Op, ...]:
    return (SetXcrs(all_of(host, start)), USE_XSAVE)


def _saved_by_guest(host: HostProfile) -> tuple[Scenario, ...]:
    """Each form of XSAVE, on all and on part of the state that the host restored."""
    found: list[Scenario] = []
    for start in _STARTS:
        every = all_of(host, start)
        saves = tuple(
            GuestXsave(form, rfbm)
            for form in SaveForm
            for rfbm in ((1 << 64) - 1, LEGACY, every & ~LEGACY, 0x4)
        )
        ops = (*_enabled(host, start), *saves, SetXsave(every), *saves, GuestXgetbv(1))
        found.append(scenario("saved-all", start, ops))
        smaller = (SetXcrs(AVX), SetXsave(every), *saves, SetXcrs(every), GuestXsave())
        found.append(scenario("saved-avx", start, (USE_XSAVE, *smaller)))
    return tuple(found)


def _restored_by_guest(host: HostProfile) -> tuple[Scenario, ...]:
    """Each form of XRSTOR, standard and compacted, then a read of all state."""
    found: list[Scenario] = []
    for start in _STARTS:
        every = all_of(host, start)
        restores: list[Op] = []
        for bits in (every, LEGACY, every & ~LEGACY, 0):
            restores += [
                GuestXrstor(bits),
                GuestXsave(),
                GuestXrstor(bits, every | COMPACTED),
                GuestXrstor(bits, bits | COMPACTED, RestoreForm.XRSTORS),
                GuestXsave(SaveForm.XSAVEC),
                GuestXrstor(bits, rfbm=XFeature.YMM.bit),
            ]
        found.append(scenario("xrstor", start, (*_enabled(host, start), *restores)))
    fx = (GuestFxrstor(), GuestFxsave(), GuestXrstor(0), GuestFxsave())
    return (*found, scenario("fxrstor", PLAIN, (*_enabled(host, PLAIN), *fx)))


def _mxcsr() -> tuple[Scenario, ...]:
    """MXCSR depends on SSE alone: live correction 2."""
    begin = (SetXcrs(AVX), USE_XSAVE)
    shows = run(PayloadOp.STMXCSR)
    masks = tuple(
        SetXsaveImage(bv, Malformation.MXCSR_MASK, 0x12345) for bv in (AVX, AVX & ~LEGACY)
    )
    given = {
        "ymm": XFeature.YMM.bit,
        "sse": XFeature.SSE.bit,
        "fp": XFeature.FP.bit,
        "avx": AVX,
    }
    return (
        *(
            scenario(
                f"mxcsr-{name}",
                PLAIN,
                (*begin, SetXsaveImage(bv, Malformation.MXCSR, _SEEN_MXCSR), *shows, GuestXsave()),
            )
            for name, bv in given.items()
        ),
        scenario(
            "mxcsr-mask",
            PLAIN,
            (*begin, *masks, *shows, GuestLoad(VectorFile.XMM), *masks[:1], GuestLdmxcsr(0x1F80)),
        ),
        scenario(
            "mxcsr-alone",
            PLAIN,
            (*begin, SetXsave(0), GuestLdmxcsr(_SEEN_MXCSR), *shows, *masks[1:], GuestLdmxcsr(0)),
        ),
        scenario(
            "mxcsr-loaded",
            PLAIN,
            (*begin, GuestLdmxcsr(_SEEN_MXCSR), *shows, SetXsave(XFeature.SSE.bit), *shows),
        ),
    )


def _x87() -> tuple[Scenario, ...]:
    stores = run(PayloadOp.FSTP, PayloadOp.FNSTSW)
    sets = (*run(PayloadOp.FNINIT), GuestFldcw(0x27F), GuestFld(), *run(PayloadOp.FLD1))
    shows = (
        GuestFxsave(),
        *run(PayloadOp.FNSTCW),
        *stores,
        *stores,
        *stores,
        *run(PayloadOp.FNCLEX),
    )
    given, beside = SetFpu(FpuContent.FIRST), SetXsave(XFeature.YMM.bit)
    seen = (GuestXgetbv(1), GuestXsave(SaveForm.XSAVEC), GuestXsave(SaveForm.XSAVEOPT))
    pointers = (SetXcrs(AVX), USE_XSAVE, *run(PayloadOp.FNINIT, PayloadOp.FNOP), *seen)
    return (
        scenario("x87-pointers", PLAIN, (*pointers, *run(PayloadOp.FNINIT), *pointers[2:])),
        scenario("x87-loaded", PLAIN, (*sets, *shows)),
        scenario("x87-over-restored", PLAIN, (SetXsave(LEGACY), *sets, *shows)),
        scenario("set-fpu", PLAIN, (SetXsave(LEGACY), given, GuestFxsave(), GetFpu()), ()),
        scenario("set-fpu-in-init", PLAIN, (given, GuestFxsave(), GetFpu()), ()),
        scenario("set-fpu-beside", PLAIN, (beside, given, GuestFxsave(), GetFpu()), ()),
    )


def _tiles() -> tuple[Scenario, ...]:
    begin = (SetXcrs(AVX512_ALL | XTILE), USE_XSAVE)
    loads = tuple(GuestTileloadd(tile) for tile in range(8))
    stores = (GuestTilestored(3), GuestTilestored(7))
    return (
        scenario(
            "tiles-loaded",
            TILES,
            (
                *begin,
                GuestLdtilecfg(),
                *loads,
                GuestTilezero(3),
                *stores,
                GuestXgetbv(1),
            ),
        ),
        scenario(
            "tiles-multiplied",
            TILES,
            (*begin, GuestLdtilecfg(), *loads[:3], *run(PayloadOp.TDPBSSD), GuestTilestored(0)),
        ),
        scenario(
            "tiles-released",
            TILES,
            (
                *begin,
                GuestLdtilecfg(),
                loads[0],
                *run(PayloadOp.TILERELEASE, PayloadOp.STTILECFG),
                GuestXsave(SaveForm.XSAVEC),
                GuestLdtilecfg(),
                GuestTilestored(0),
            ),
        ),
    )


def _pkru() -> tuple[Scenario, ...]:
    """With CR4.PKE or XCR0[9] the guest has its PKRU; SET_XSAVE without bit 9 keeps it (INV-22)."""
    shows = run(PayloadOp.RDPKRU)
    restored = [
        op
        for value in _PKRU_VALUES
        for op in (SetXsaveImage(_PKRU, Malformation.PKRU, value), *shows, SetXsave(LEGACY), *shows)
    ]
    written = [op for value in _PKRU_VALUES for op in (GuestWrpkru(value), *shows)]
    with_xcr0 = (SetXcrs(_PKRU | AVX), GuestXsave(), GuestXrstor(_PKRU), *shows, GuestXsave())
    return (
        scenario("pkru-restored", TILES, (USE_XSAVE_AND_PKRU, *restored)),
        scenario("pkru-written", TILES, (USE_XSAVE_AND_PKRU, *written, RunImmediateExit(), *shows)),
        scenario("pkru-by-xcr0", TILES, (USE_XSAVE, *with_xcr0, USE_XSAVE_AND_PKRU, *shows)),
        scenario(
            "pkru-hidden",
            TILES,
            (
                USE_XSAVE_AND_PKRU,
                GuestWrpkru(0xC),
                USE_XSAVE,
                SetXsaveImage(_PKRU, Malformation.PKRU, 0x30),
                *run(PayloadOp.NOP),
                USE_XSAVE_AND_PKRU,
                *shows,
            ),
        ),
    )
