"""What KVM_SET_XSAVE accepts, and what KVM_GET_XSAVE and KVM_GET_XSAVE2 return after it.

Each scenario ends with a KVM_RUN that returns at once and one that enters the guest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.xsave import (
    GetXsave,
    GetXsave2,
    GetXsave2AtPageEnd,
    GetXsaveAtPageEnd,
    SetXsave,
    SetXsaveAtPageEnd,
    SetXsaveImage,
    largest_image,
)
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import AVX512, FPSSE, SSE_YMM, XTILE, XFeature
from kvmprobe.xstate.layout import HEADER_RESERVED, KVM_XSAVE_SIZE
from kvmprobe.xstate.malformations import Malformation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

FP, SSE, YMM = XFeature.FP.bit, XFeature.SSE.bit, XFeature.YMM.bit
OPMASK = XFeature.OPMASK.bit
PKRU, DATA, CFG = XFeature.PKRU.bit, XFeature.XTILE_DATA.bit, XFeature.XTILE_CFG.bit
AVX = FPSSE | YMM
EVERYTHING = AVX | AVX512
_SEE = (GetXsave2(),)
_ODD_MXCSR = 0x1FA0
_RUNS = (ScenarioStep(RunImmediateExit(), _SEE), ScenarioStep(RunUntilHalt(), _SEE))


@dataclass(frozen=True, slots=True)
class Guest:
    """The CPUID of a vCPU before it gets the images, and its name in the id."""

    part: str
    ops: tuple[Op, ...]
    needs: Needs = ANYWHERE
    asks: tuple[Op, ...] = ()


_ASK = RequestGuestPermission(XFeature.XTILE_DATA)
BARE = Guest("bare", ())
EMPTY = Guest("empty", (SetCpuid2(Table.EMPTY),))
LEGACY = Guest("legacy", (SetCpuid2(Table.LEGACY),))
NO_PKU = Guest("no-pku", (SetCpuid2(Table.NO_PKU),), AMX, (_ASK,))
PLAIN = Guest("plain", (SetCpuid2(Table.NO_AMX),))
TILES = Guest("tiles", (SetCpuid2(Table.FULL),), AMX, (_ASK,))
DROPPED = Guest("dropped", (SetCpuid2(Table.FULL), SetCpuid2(Table.NO_AMX)), AMX, (_ASK,))


def scenario(
    row: str, guest: Guest, column: str, ops: Iterable[Op], see: tuple[Op, ...] = _SEE
) -> Scenario:
    """Return the scenario: set up the guest, do the ops, run; read the state after each."""
    begin: tuple[Op, ...] = (
        OpenKvm(),
        *guest.asks,
        CreateVm(),
        MapHalt(),
        CreateVcpu(),
        *guest.ops,
    )
    column = f"{guest.part}.{column}" if column else guest.part
    return Scenario(
        id=f"xsave.{row}.{column}",
        row=row,
        column=column,
        steps=(
            *(ScenarioStep(op) for op in begin),
            *(ScenarioStep(op, see) for op in ops),
            *_RUNS,
        ),
        needs=guest.needs,
    )


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the family."""
    guests = (BARE, EMPTY, LEGACY, PLAIN, TILES, DROPPED)
    return (
        *(_extent(guest, host) for guest in (BARE, PLAIN, TILES, DROPPED)),
        *(scenario("old-get", guest, "", _old_get()) for guest in guests),
        *(scenario("components", guest, "", _each_component()) for guest in (*guests, NO_PKU)),
        *(scenario("refused", guest, "", _refused()) for guest in (BARE, PLAIN, TILES)),
        *(scenario("ignored", guest, "", _ignored(guest)) for guest in (BARE, PLAIN, TILES)),
        *_mxcsr(),
        *_pkru(),
        *_contents(),
        *_through_a_run(),
        *_late_cpuid(),
        *_tiles(),
    )


def _extent(guest: Guest, host: HostProfile) -> Scenario:
    sizes = sorted({KVM_XSAVE_SIZE, largest_image(host)})
    tried = [0, *(size - 1 for size in sizes), *sizes]
    ops: list[Op] = [SetXsaveAtPageEnd(AVX, size) for size in tried]
    ops += [SetXsaveAtPageEnd(1 << 63, size) for size in tried]
    ops += [GetXsave2AtPageEnd(size) for size in tried]
    ops += [GetXsaveAtPageEnd(size) for size in tried]
    return scenario("extent", guest, "", ops)


def _old_get() -> tuple[Op, ...]:
    return (GetXsave(), SetXsave(AVX), GetXsave(), RunImmediateExit(), GetXsave())


def _each_component() -> tuple[Op, ...]:
    """Each bit of XSTATE_BV alone; between them an image that a refused one must not change."""
    return (
        SetXsave(AVX),
        *(SetXsaveImage(1 << nr) for nr in range(64)),
        SetXsaveImage((1 << 64) - 1),
        SetXsaveImage(0),
    )


def _refused() -> tuple[Op, ...]:
    header = len(HEADER_RESERVED)
    return (
        SetXsave(AVX),
        *(SetXsaveImage(0, Malformation.XCOMP_BV, 1 << nr) for nr in range(64)),
        SetXsaveImage(AVX, Malformation.XCOMP_BV, 1 << 63 | AVX),
        *(SetXsaveImage(FPSSE, Malformation.RESERVED, place) for place in range(header)),
    )


def _ignored(guest: Guest) -> tuple[Op, ...]:
    every = EVERYTHING | PKRU | XTILE if guest is TILES else AVX
    return (
        SetXsaveImage(every, Malformation.PADDING),
        SetXsaveImage(0, Malformation.PADDING),
        SetXsaveImage(every, Malformation.SOFTWARE, (1 << 64) - 1),
        SetXsaveImage(FPSSE, Malformation.SOFTWARE, 0x4650_5853),
        SetXsaveImage(0, Malformation.ABSENT),
        SetXsaveImage(YMM, Malformation.ABSENT),
        SetXsaveImage(FPSSE, Malformation.ABSENT),
    )


def _mxcsr() -> tuple[Scenario, ...]:
    users = {"none": 0, "fp": FP, "sse": SSE, "ymm": YMM, "others": AVX512, "all": EVERYTHING}
    bits = {
        name: (
            SetXsave(AVX),
            *(SetXsaveImage(bv, Malformation.MXCSR, 1 << bit) for bit in range(32)),
        )
        for name, bv in users.items()
    }
    orders = {
        "sse-none": (SSE, 0),
        "fp-none": (FP, 0),
        "fp-ymm": (FP, YMM),
        "sse-ymm": (SSE, YMM),
        "ymm-sse": (YMM, SSE),
        "sse-fp": (SSE, FP),
    }
    masks = (0x12345, 0, 0xFFFF_FFFF)
    return (
        *(scenario("mxcsr-bits", PLAIN, name, ops) for name, ops in bits.items()),
        *(
            scenario(
                "mxcsr-kept",
                PLAIN,
                name,
                (
                    SetXsaveImage(first, Malformation.MXCSR, 0x1F00),
                    SetXsaveImage(second, Malformation.MXCSR, _ODD_MXCSR),
                    RunImmediateExit(),
                    RunImmediateExit(),
                ),
            )
            for name, (first, second) in orders.items()
        ),
        *(
            scenario(
                "mxcsr-mask",
                PLAIN,
                name,
                (
                    *(SetXsaveImage(bv, Malformation.MXCSR_MASK, mask) for mask in masks),
                    SetXsaveImage(bv, Malformation.MXCSR_MASK, masks[0]),
                ),
            )
            for name, bv in users.items()
        ),
        scenario(
            "mxcsr-hidden",
            LEGACY,
            "",
            (
                SetXsaveImage(YMM, Malformation.MXCSR, _ODD_MXCSR),
                RunImmediateExit(),
                SetXsaveImage(YMM, Malformation.MXCSR_MASK, masks[0]),
                RunImmediateExit(),
                SetXsaveImage(OPMASK, Malformation.MXCSR_MASK, masks[0]),
            ),
        ),
        scenario("mxcsr-foreign", PLAIN, "", _mxcsr_foreign(masks[0])),
    )


def _mxcsr_foreign(mask: int) -> Iterator[Op]:
    """Set MXCSR and its mask with and without SSE; without SSE they remain stored."""
    for bv in (FP, SSE, YMM, OPMASK, SSE_YMM):
        yield SetXsaveImage(bv, Malformation.MXCSR_MASK, mask)
        yield RunImmediateExit()
        yield SetXsave(OPMASK)
        yield RunImmediateExit()
        yield SetXsaveImage(bv | SSE, Malformation.MXCSR, _ODD_MXCSR)
        yield SetXsave(OPMASK)
        yield RunImmediateExit()
        yield RunImmediateExit()


def _pkru() -> tuple[Scenario, ...]:
    values = (0xC, 0x5555_5554, 0, 0xFFFF_FFFF, 0x1234_5678_0000_0004)
    given = [SetXsaveImage(PKRU, Malformation.PKRU, value) for value in values]
    kept = (
        SetXsaveImage(PKRU | FPSSE, Malformation.PKRU, 0xC),
        SetXsave(FPSSE),
        SetXsave(0),
        RunImmediateExit(),
        SetXsaveImage(PKRU, Malformation.PKRU, 0),
        SetXsave(FPSSE),
    )
    return (
        scenario("pkru", PLAIN, "values", given),
        scenario("pkru", PLAIN, "kept", kept),
        scenario("pkru", NO_PKU, "values", given),
        scenario("pkru", NO_PKU, "kept", kept),
        scenario("pkru", BARE, "kept", kept),
    )


def _contents() -> tuple[Scenario, ...]:
    seeds = range(1, 4)
    return (
        *(
            scenario("random", guest, str(seed), (SetXsaveImage(bv, Malformation.RANDOM, seed),))
            for guest, bv in ((PLAIN, EVERYTHING), (TILES, EVERYTHING | PKRU | XTILE))
            for seed in seeds
        ),
        scenario("x87", PLAIN, "st-padding", (SetXsaveImage(AVX, Malformation.ST_PADDING),)),
        scenario("x87", PLAIN, "st-padding-alone", (SetXsaveImage(FP, Malformation.ST_PADDING),)),
        scenario("x87", PLAIN, "pointers", (SetXsaveImage(FP, Malformation.X87_POINTERS),)),
    )


def _through_a_run() -> tuple[Scenario, ...]:
    plain = {
        "none": 0,
        "fp": FP,
        "sse": SSE,
        "ymm": YMM,
        "opmask": XFeature.OPMASK.bit,
        "zmm-hi256": XFeature.ZMM_HI256.bit,
        "hi16-zmm": XFeature.HI16_ZMM.bit,
        "sse-ymm": SSE_YMM,
        "all": EVERYTHING,
    }
    tiled = {"pkru": PKRU, "tile-cfg": CFG, "tiles": XTILE, "everything": EVERYTHING | PKRU | XTILE}
    with_guest = [(PLAIN, plain), (TILES, tiled)]
    return (
        *(
            scenario("run", guest, name, (SetXsave(bv),))
            for guest, bitmaps in with_guest
            for name, bv in bitmaps.items()
        ),
        *(
            scenario("init", guest, name, (SetXsave(bv), SetXsaveImage(bv, Malformation.INIT)))
            for guest, bitmaps in with_guest
            for name, bv in bitmaps.items()
            if bv
        ),
        *(
            scenario(
                "replaced", PLAIN, name, (SetXsave(EVERYTHING), RunImmediateExit(), SetXsave(bv))
            )
            for name, bv in plain.items()
        ),
    )


def _late_cpuid() -> tuple[Scenario, ...]:
    """Components that the guest lacks are kept, and appear when its CPUID has them."""
    return (
        scenario("shown", BARE, "plain", (SetXsave(EVERYTHING), SetCpuid2(Table.NO_AMX))),
        scenario("shown", EMPTY, "plain", (SetXsave(EVERYTHING), RunImmediateExit(), *PLAIN.ops)),
        scenario("hidden", PLAIN, "legacy", (SetXsave(EVERYTHING), *LEGACY.ops, *PLAIN.ops)),
        scenario(
            "hidden",
            TILES,
            "plain",
            (SetXsave(EVERYTHING | XTILE), SetCpuid2(Table.NO_AMX), SetCpuid2(Table.FULL)),
        ),
        scenario(
            "set-hidden",
            DROPPED,
            "tiles",
            (SetXsave(XTILE), SetCpuid2(Table.FULL), SetXsave(FPSSE)),
        ),
    )


def _tiles() -> tuple[Scenario, ...]:
    arm, disarm = SetXfd(DATA), SetXfd(0)
    return (
        scenario("tiles", TILES, "data-alone", (SetXsave(DATA),)),
        scenario("tiles", TILES, "data-and-legacy", (SetXsave(DATA | AVX),)),
        scenario("tiles", TILES, "zero-data", (SetXsaveImage(DATA, Malformation.INIT),)),
        *(
            scenario(
                "tiles",
                TILES,
                f"palette-{palette}",
                (SetXsaveImage(XTILE, Malformation.TILE_CONFIGURATION, palette), SetXsave(FPSSE)),
            )
            for palette in (0, 2, 255)
        ),
        scenario(
            "tiles",
            TILES,
            "palette-2-run",
            (SetXsaveImage(XTILE, Malformation.TILE_CONFIGURATION, 2), RunImmediateExit()),
        ),
        scenario("armed", TILES, "disarmed", (arm, SetXsave(XTILE), disarm, SetXsave(XTILE))),
        scenario(
            "armed",
            TILES,
            "faults",
            (arm, SetXsaveImage(XTILE | 1 << 19), SetXsaveImage(XTILE | 1 << 63), disarm),
        ),
    )
