"""What a guest must not do: #UD, #NM and #GP of XSAVE instructions and AMX; XSETBV and CR4."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.model.control import Cr0, Cr4
from kvmprobe.model.guest import PAYLOAD_CR0, PAYLOAD_CR4
from kvmprobe.model.guest_vector import VectorFile
from kvmprobe.model.guest_xsave import COMPACTED, RestoreForm, SaveForm
from kvmprobe.scenarios.catalog._guests import (
    AVX,
    AVX512_ALL,
    LEGACY,
    NO_FPU,
    PLAIN,
    PLAIN_CR0,
    TASK_SWITCHED,
    TILES,
    USE_XSAVE,
    USE_XSAVE_AND_PKRU,
    Start,
    all_of,
    amx,
    run,
    scenario,
    stores,
)
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.guest_control import (
    GuestCpuidLeaf,
    GuestLdmxcsr,
    GuestRdmsr,
    GuestWriteCr0,
    GuestWriteCr4,
    GuestWrmsr,
    GuestWrpkru,
    GuestXgetbv,
    GuestXsetbv,
    GuestXsetbvUser,
)
from kvmprobe.scenarios.ops.guest_encoding import Encoding, GuestMisencoded
from kvmprobe.scenarios.ops.guest_tiles import (
    Configuration,
    GuestLdtilecfg,
    GuestTileloadd,
    GuestTilestored,
    GuestTilezero,
)
from kvmprobe.scenarios.ops.guest_vector import GuestFld, GuestFldcw, GuestLoad, GuestStore
from kvmprobe.scenarios.ops.guest_xsave import GuestFxrstor, GuestFxsave, GuestXrstor, GuestXsave
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import SetXsave
from kvmprobe.xstate.features import MPX, XTILE, XFeature, numbers

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_ALL = AVX512_ALL | XTILE
_XCR0_SEEN = (GetXcrs(),)
_X87: tuple[Op, ...] = (
    *run(PayloadOp.FNOP, PayloadOp.FNSTCW, PayloadOp.FNSTSW, PayloadOp.FWAIT),
    GuestFldcw(0x27F),
    GuestFxsave(),
    GuestFxrstor(),
)
_SSE: tuple[Op, ...] = (
    GuestStore(VectorFile.XMM),
    GuestLoad(VectorFile.XMM),
    *run(PayloadOp.STMXCSR),
    GuestLdmxcsr(0x1F80),
)
_AVX: tuple[Op, ...] = (
    *(GuestStore(file) for file in (VectorFile.YMM, VectorFile.ZMM, VectorFile.K)),
    *run(PayloadOp.VZEROUPPER, PayloadOp.VZEROALL),
)
_XSAVE: tuple[Op, ...] = (
    *(GuestXsave(form) for form in SaveForm),
    GuestXrstor(0),
    GuestXrstor(0, COMPACTED, RestoreForm.XRSTORS),
)
_TILES: tuple[Op, ...] = (
    GuestLdtilecfg(),
    *run(PayloadOp.STTILECFG),
    GuestTileloadd(),
    GuestTilestored(),
    GuestTilezero(),
    *run(PayloadOp.TDPBSSD, PayloadOp.TILERELEASE),
)
_ENCODINGS = {
    "lock": (PLAIN, [e for e in Encoding if e.name.startswith("LOCK_")]),
    "vex": (PLAIN, [e for e in Encoding if "VEX" in e.name or e.name.startswith("V")]),
    "opmask": (PLAIN, [e for e in Encoding if e.name.startswith("KMOVQ")]),
    "gp": (PLAIN, [e for e in Encoding if "MISALIGNED" in e.name or "BYTES" in e.name]),
    "tiles": (TILES, [e for e in Encoding if "TILE" in e.name or "TDP" in e.name]),
}
_XCR: tuple[Op, ...] = (GuestXgetbv(0), GuestXgetbv(1), GuestXsetbv(1), GuestXsetbvUser(1))


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return this part of the family."""
    return (
        *_without_osxsave(),
        *_without_xcr0(),
        *_task_switched(),
        *_headers(),
        *_tile_faults(),
        *_misencoded(host),
        *_xsetbv(host),
        *_control(),
        *_cpuid(host),
    )


def _misencoded(host: HostProfile) -> tuple[Scenario, ...]:
    """Nearly valid encodings, with every register file in use: an exception, and all is kept."""
    return tuple(
        scenario(
            f"misencoded-{part}",
            start,
            (
                USE_XSAVE,
                SetXsave(all_of(host, start)),
                SetXcrs(all_of(host, start)),
                *map(GuestMisencoded, encodings),
                *stores(),
            ),
        )
        for part, (start, encodings) in _ENCODINGS.items()
    )


def _without_osxsave() -> tuple[Scenario, ...]:
    """CR4.OSXSAVE=0: #UD for any XCR0."""
    each = (*_XCR, *_XSAVE, *_AVX, *_TILES)
    return (
        scenario(
            "ud-osxsave", TILES, (SetXcrs(_ALL), *run(PayloadOp.UD2), *each, USE_XSAVE, *each)
        ),
        scenario("ud-xsaves", amx("no-xsaves", Table.NO_XSAVES), (USE_XSAVE, *_XSAVE)),
    )


def _without_xcr0() -> tuple[Scenario, ...]:
    """Use register files that XCR0 lacks: #UD; their contents are kept."""
    begin = (USE_XSAVE, SetXsave(_ALL))
    steps: list[Op] = []
    for xcr0 in (1, LEGACY, AVX, AVX512_ALL):
        steps += [SetXcrs(xcr0), *_AVX[:3], *_TILES]
    kept = (SetXcrs(_ALL), *_AVX[:3], *run(PayloadOp.STTILECFG), GuestTilestored(1))
    return (scenario("ud-xcr0", TILES, (*begin, *steps, *kept)),)


def _task_switched() -> tuple[Scenario, ...]:
    each = (*_X87, *_SSE, *_AVX[:3], *_XSAVE)
    begin = (SetXcrs(AVX512_ALL), USE_XSAVE, SetXsave(AVX512_ALL))
    return (
        scenario("nm-ts", PLAIN, (*begin, TASK_SWITCHED, *each, *run(PayloadOp.CLTS), *each)),
        scenario("nm-ts-cr0", PLAIN, (*begin, TASK_SWITCHED, *each[:3], PLAIN_CR0, *each[:3])),
        scenario("nm-em", PLAIN, (*begin, NO_FPU, *_X87, *_SSE, PLAIN_CR0, *_X87[:1], GuestFld())),
    )


def _headers() -> tuple[Scenario, ...]:
    """Areas for which XRSTOR and XRSTORS raise #GP and change nothing."""
    foreign = 1 << 62
    areas: tuple[Op, ...] = (
        GuestXrstor(AVX | XFeature.ZMM_HI256.bit),
        GuestXrstor(foreign),
        GuestXrstor(AVX, AVX),
        GuestXrstor(AVX, LEGACY | COMPACTED),
        GuestXrstor(AVX, AVX | foreign | COMPACTED),
        GuestXrstor(AVX, _ALL | COMPACTED),
        GuestXrstor(AVX, reserved=1),
        GuestXrstor(AVX, AVX | COMPACTED, reserved=1),
        GuestXrstor(AVX, mxcsr=1 << 31),
        GuestXrstor(XFeature.FP.bit, mxcsr=1 << 31),
        GuestXrstor(LEGACY, LEGACY | COMPACTED, mxcsr=1 << 31),
        GuestXrstor(XFeature.FP.bit, LEGACY | COMPACTED, mxcsr=1 << 31),
        GuestXrstor(AVX, restores=RestoreForm.XRSTORS),
        GuestXrstor(AVX, LEGACY | COMPACTED, RestoreForm.XRSTORS),
        GuestXrstor(AVX, offset=8),
        *(GuestXsave(form, offset=8) for form in SaveForm),
        GuestFxrstor(1 << 31),
        GuestLdmxcsr(1 << 31),
    )
    begin = (SetXcrs(AVX), USE_XSAVE, SetXsave(AVX))
    return (scenario("gp-areas", PLAIN, (*begin, *areas, GuestXsave())),)


def _tile_faults() -> tuple[Scenario, ...]:
    begin = (SetXcrs(_ALL), USE_XSAVE)
    shows = run(PayloadOp.STTILECFG)
    refused = [
        op
        for configuration in Configuration
        if configuration not in {Configuration.NARROW, Configuration.PALETTE_0}
        for op in (GuestLdtilecfg(configuration), *shows)
    ]
    narrow = (GuestLdtilecfg(Configuration.NARROW), *shows)
    return (
        scenario("ud-unconfigured", TILES, (*begin, *_TILES[2:6], GuestLdtilecfg(), *_TILES[2:6])),
        scenario("gp-configurations", TILES, (*begin, GuestTileloadd(), *refused)),
        scenario(
            "palette-0",
            TILES,
            (
                *begin,
                GuestLdtilecfg(),
                GuestTileloadd(),
                GuestLdtilecfg(Configuration.PALETTE_0),
                *shows,
            ),
        ),
        scenario("narrow", TILES, (*begin, *narrow, *run(PayloadOp.TILERELEASE), *shows), ()),
    )


def _masks(host: HostProfile) -> tuple[int, ...]:
    """Values of XCR0: combinations of dependent bits, each bit alone, and unsupported ones."""
    groups = (1, 2, 4, MPX, AVX512_ALL & ~AVX, XFeature.PKRU.bit, XTILE)
    combined = [sum(g for g, on in zip(groups, chosen, strict=True) if on) for chosen in _CHOICES]
    alone = [1 | 1 << nr for nr in range(1, 20)] + [host.kvm_xcr0 & ~(1 << nr) for nr in range(19)]
    foreign = [1 | 1 << 19, 1 | 1 << 32, 1 | 1 << 63, 0, (1 << 64) - 1]
    return tuple(dict.fromkeys([*combined, *alone, *foreign]))


_CHOICES = tuple(product((False, True), repeat=7))


def _xsetbv(host: HostProfile) -> tuple[Scenario, ...]:
    """XSETBV accepts what KVM_SET_XCRS accepts (INV-40)."""
    starts = (TILES, PLAIN, Start("legacy", Table.LEGACY), amx("cfg-alone", Table.TILE_CFG_ALONE))
    misuse = (
        GuestXsetbv(1, index=1),
        GuestXsetbv(AVX, index=1 << 31),
        GuestXsetbvUser(AVX),
        GuestXgetbv(2),
        GuestXgetbv(1 << 31),
        GuestXgetbv(0),
    )
    return (
        *(
            scenario(
                "xsetbv",
                start,
                (USE_XSAVE, *(GuestXsetbv(mask) for mask in _masks(host)), GuestXgetbv(0)),
                _XCR0_SEEN,
            )
            for start in starts
        ),
        scenario("xcr0-by-both", PLAIN, (USE_XSAVE, *_by_both()), ()),
        scenario("xsetbv-misused", PLAIN, (USE_XSAVE, *misuse), _XCR0_SEEN),
    )


def _by_both() -> tuple[Op, ...]:
    """Write XCR0 and CR4.OSXSAVE on either side; the guest reads the last value."""
    looks = (GuestXgetbv(0), GuestCpuidLeaf(0xD, 0), GuestCpuidLeaf(1), GetXcrs())
    return (
        *(SetXcrs(AVX), *looks, GuestXsetbv(LEGACY), *looks, SetXcrs(AVX512_ALL), *looks),
        *(GetSregs(), SetSregs(PAYLOAD_CR4), *looks, SetXcrs(1), GetSregs()),
        *(SetSregs(PAYLOAD_CR4 | Cr4.OSXSAVE.bit), *looks, GetSregs()),
    )


def _control() -> tuple[Scenario, ...]:
    """CR4.OSXSAVE and CR4.PKE need CPUID; the rest of CR0 and CR4 is as the SDM says."""
    written = (USE_XSAVE, USE_XSAVE_AND_PKRU, GuestWriteCr4(PAYLOAD_CR4))
    refused = (
        GuestWriteCr4(PAYLOAD_CR4 & ~Cr4.PAE.bit),
        GuestWriteCr4(PAYLOAD_CR4 | 1 << 31),
        GuestWriteCr0(PAYLOAD_CR0 & ~Cr0.PG),
        GuestWriteCr0(PAYLOAD_CR0 & ~Cr0.PE),
        GuestWriteCr0(PAYLOAD_CR0 | Cr0.NW),
        GuestWriteCr0(PAYLOAD_CR0 | 1 << 32),
    )
    shows = run(PayloadOp.READ_CR0, PayloadOp.READ_CR4)
    # Bits that are ignored, always set, may be clear, or depend on each other.
    values = (
        PAYLOAD_CR0 | 0xFFC0,
        PAYLOAD_CR0 & ~Cr0.ET,
        PAYLOAD_CR0 & ~Cr0.MP,
        PAYLOAD_CR0 | Cr0.CD,
    )
    cached = (*values, PAYLOAD_CR0 | Cr0.CD | Cr0.NW, PAYLOAD_CR0 | 1 << 28, PAYLOAD_CR0)
    taken = [op for value in cached for op in (GuestWriteCr0(value), shows[0])]
    no_xsave, no_pku = amx("no-xsave", Table.NO_XSAVE), amx("no-pku", Table.NO_PKU)
    # The instructions use only the lower halves of their registers.
    wide = 1 << 32
    pkru = (
        *run(PayloadOp.RDPKRU),
        GuestWrpkru(4),
        GuestWrpkru(8, ecx=1),
        GuestWrpkru(12, edx=1),
        GuestWrpkru(wide | 16, ecx=wide, edx=wide),
    )
    halved = (
        GuestXgetbv(wide),
        GuestXsetbv(AVX, wide),
        GuestCpuidLeaf(wide | 0xD, wide),
        GuestCpuidLeaf(1, 5),
        GuestCpuidLeaf(0xD, 63),
        GuestRdmsr(wide | Msr.IA32_XFD),
        GuestWrmsr(wide | Msr.IA32_XFD, 0),
    )
    return (
        *(scenario("cr4", start, (*written, *shows), ()) for start in (TILES, no_xsave, no_pku)),
        scenario("gp-cr", TILES, (*refused, *shows), ()),
        scenario("cr0", PLAIN, (*taken, GetSregs()), ()),
        scenario("halves", TILES, (USE_XSAVE, *halved)),
        scenario("ud-pkru", TILES, (USE_XSAVE, *pkru, USE_XSAVE_AND_PKRU, *pkru, *pkru[:1])),
    )


def _cpuid(host: HostProfile) -> tuple[Scenario, ...]:
    """CPUID 0xD follows XCR0, and leaves 1 and 7 CR4 (INV-35)."""
    looks = (
        *(GuestCpuidLeaf(0xD, leaf) for leaf in (0, 1)),
        GuestCpuidLeaf(1),
        GuestCpuidLeaf(7),
    )
    places = tuple(GuestCpuidLeaf(0xD, nr) for nr in numbers(host.kvm_xcr0) if nr > 1)
    tile_leaves = (GuestCpuidLeaf(0x1D, 0), GuestCpuidLeaf(0x1D, 1), GuestCpuidLeaf(0x1E, 0))
    steps: list[Op] = [*looks, USE_XSAVE_AND_PKRU]
    for xcr0 in (1, LEGACY, AVX, AVX512_ALL, _ALL, host.kvm_xcr0):
        steps += [GuestXsetbv(xcr0), *looks[:2]]
    others = map(SetCpuid2, (Table.NO_AMX, Table.FULL))
    steps += [*looks, USE_XSAVE, *looks, *places, *tile_leaves, *others]
    return (scenario("cpuid", TILES, steps, ()),)
