"""XFD, XFD_ERR and XSS as a guest uses them: #NM, its handler, and who may write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.model.guest_xsave import COMPACTED, RestoreForm, SaveForm
from kvmprobe.scenarios.catalog._guests import (
    AVX512_ALL,
    DATA,
    LEGACY,
    PLAIN,
    PLAIN_CR0,
    TASK_SWITCHED,
    TILES,
    USE_XSAVE,
    Start,
    amx,
    run,
    scenario,
)
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.guest_control import GuestCpuidLeaf, GuestRdmsr, GuestWrmsr, GuestXgetbv
from kvmprobe.scenarios.ops.guest_tiles import (
    GuestLdtilecfg,
    GuestTileloadd,
    GuestTilestored,
    GuestTilezero,
)
from kvmprobe.scenarios.ops.guest_xsave import GuestXrstor, GuestXsave
from kvmprobe.scenarios.ops.msrs import GetMsrs, SetMsrs, SetXfd, SetXfdAsleep, SetXfdErr
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import SetXsave
from kvmprobe.scenarios.scenario import Need
from kvmprobe.xstate.features import XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_ALL = AVX512_ALL | XTILE
_BEGIN: tuple[Op, ...] = (SetXcrs(_ALL), USE_XSAVE, GuestLdtilecfg())
_GUEST_ARMS, _GUEST_DISARMS = (GuestWrmsr(Msr.IA32_XFD, value) for value in (DATA, 0))
_SHOWS_ERR, _CLEARS_ERR = GuestRdmsr(Msr.IA32_XFD_ERR), GuestWrmsr(Msr.IA32_XFD_ERR, 0)
_HANDLED: tuple[Op, ...] = (_SHOWS_ERR, _CLEARS_ERR, _GUEST_DISARMS)
_ASLEEP = Start("tiles", Table.FULL, TILES.needs | {Need.PRIVILEGE})
_NOWHERE = 0x4000_4000  # not an MSR of any processor or of KVM
_VALUES = (0, DATA, XFeature.XTILE_CFG.bit, 1 << 19, 1 << 63, (1 << 64) - 1, 0)


def scenarios() -> tuple[Scenario, ...]:
    """Return this part of the family."""
    return (*_flow(), *_without_nm(), *_by_xsave(), *_lost(), *_access(), *_xss())


def _flow() -> tuple[Scenario, ...]:
    """TILELOADD raises #NM; read XFD_ERR, clear XFD, and retry; either side arms XFD."""
    load, store = GuestTileloadd(2), GuestTilestored(2)
    again = (*_HANDLED, load, store)
    uses: tuple[Op, ...] = (load, store, GuestTilezero(1), *run(PayloadOp.TDPBSSD))
    twice = [op for use in uses for op in (use, _SHOWS_ERR, _CLEARS_ERR)]
    return (
        scenario("nm-armed-by-host", TILES, (*_BEGIN, SetXfd(DATA), load, *again)),
        scenario("nm-armed-by-guest", TILES, (*_BEGIN, _GUEST_ARMS, load, *again)),
        scenario("nm-disarmed-by-host", TILES, (*_BEGIN, _GUEST_ARMS, load, SetXfd(0), *uses[:2])),
        scenario("nm-each-use", TILES, (*_BEGIN, _GUEST_ARMS, *twice)),
        scenario(
            "nm-err-by-host",
            TILES,
            (*_BEGIN, _GUEST_ARMS, load, SetXfdErr(0), _SHOWS_ERR, SetXfdErr(DATA), _SHOWS_ERR),
        ),
        scenario(
            "nm-err-kept",
            TILES,
            (*_BEGIN, _GUEST_ARMS, load, RunImmediateExit(), _GUEST_DISARMS, load, _SHOWS_ERR),
        ),
    )


def _without_nm() -> tuple[Scenario, ...]:
    """Instructions without tile data; #NM from CR0.TS does not write XFD_ERR (correction 8)."""
    released = run(PayloadOp.STTILECFG, PayloadOp.TILERELEASE, PayloadOp.STTILECFG)
    armed = (*_BEGIN, SetXfd(DATA))
    uses_x87 = run(PayloadOp.FNOP, PayloadOp.CLTS, PayloadOp.FNOP)
    return (
        scenario("no-nm-configuration", TILES, (*armed, GuestLdtilecfg(), *released, _SHOWS_ERR)),
        scenario("nm-of-ts", TILES, (*armed, TASK_SWITCHED, *uses_x87, _SHOWS_ERR)),
        scenario(
            "nm-of-ts-with-err",
            TILES,
            (*armed, GuestTileloadd(), TASK_SWITCHED, *uses_x87, _SHOWS_ERR, PLAIN_CR0, *_HANDLED),
        ),
        scenario(
            "nm-of-ts-disarmed",
            TILES,
            (*_BEGIN, SetXfdErr(DATA), TASK_SWITCHED, *uses_x87, _SHOWS_ERR),
        ),
    )


def _by_xsave() -> tuple[Scenario, ...]:
    """XRSTOR of disabled tiles: #NM, but it may clear them; XSAVE saves them as INIT."""
    saves = tuple(GuestXsave(form) for form in SaveForm)
    restores = (
        GuestXrstor(XTILE),
        GuestXrstor(_ALL, _ALL | COMPACTED),
        GuestXrstor(DATA, DATA | COMPACTED, RestoreForm.XRSTORS),
    )
    tried = [op for restore in restores for op in (restore, _SHOWS_ERR, _CLEARS_ERR)]
    return (
        scenario("nm-xrstor", TILES, (*_BEGIN, _GUEST_ARMS, *tried, GuestXrstor(_ALL & ~DATA))),
        scenario(
            "nm-xrstor-unasked",
            TILES,
            (*_BEGIN, _GUEST_ARMS, GuestXrstor(_ALL, rfbm=_ALL & ~DATA), *_HANDLED),
        ),
        scenario("armed-xsave", TILES, (*_BEGIN, GuestTileloadd(), _GUEST_ARMS, *saves)),
        scenario("armed-xgetbv", TILES, (*_BEGIN, SetXfd(DATA), GuestXgetbv(1), GuestXgetbv(0))),
    )


def _lost() -> tuple[Scenario, ...]:
    """Tiles disabled by an XFD of host or guest: the next save drops them (correction 12)."""
    loaded = (*_BEGIN, GuestTileloadd(5))
    shows = (GuestTilestored(5), *run(PayloadOp.STTILECFG))
    return (
        scenario("lost-armed-by-guest", TILES, (*loaded, _GUEST_ARMS, _GUEST_DISARMS, *shows)),
        scenario("lost-armed-by-host", TILES, (*loaded, SetXfd(DATA), *run(PayloadOp.STTILECFG))),
        scenario("lost-armed-asleep", _ASLEEP, (*loaded, SetXfdAsleep(DATA), *shows[1:])),
        scenario("kept-host-arms-and-disarms", TILES, (*loaded, SetXfd(DATA), SetXfd(0))),
        scenario(
            "lost-restored-armed",
            TILES,
            (*_BEGIN, _GUEST_ARMS, SetXsave(XTILE | LEGACY), _GUEST_DISARMS, GuestTilestored(0)),
        ),
        scenario(
            "kept-restored-disarmed",
            TILES,
            (*_BEGIN, _GUEST_ARMS, SetXfd(0), SetXsave(XTILE | LEGACY), GuestTilestored(0)),
        ),
    )


def _access() -> tuple[Scenario, ...]:
    """Who may access the MSRs: CPUID decides until XFD is passed through (correction 11)."""
    reads = tuple(GuestRdmsr(index) for index in (Msr.IA32_XFD, Msr.IA32_XFD_ERR, _NOWHERE))
    writes = tuple(
        GuestWrmsr(index, value) for value in _VALUES for index in (Msr.IA32_XFD_ERR, Msr.IA32_XFD)
    )
    writes += (GuestWrmsr(_NOWHERE, 0),)
    no_xfd, no_amx = amx("no-xfd", Table.NO_XFD), amx("no-amx", Table.NO_AMX)
    starts: tuple[Start, ...] = (TILES, no_xfd, no_amx, PLAIN)
    passed = (SetXfd(DATA), SetXfd(0), *reads, *writes, *reads)
    return (
        *(scenario("access", start, (*reads, *writes, *reads)) for start in starts),
        *(
            scenario("access-passed", s, (*passed, *reads, *writes, *reads))
            for s in (TILES, no_xfd)
        ),
        scenario("access-armed", no_xfd, (SetXfd(DATA), *reads, *writes, *reads)),
        scenario(
            "access-dropped",
            TILES,
            (SetXfd(DATA), SetXfd(0), SetCpuid2(Table.NO_XFD), *reads, _GUEST_ARMS, *reads),
        ),
        scenario(
            "access-amx-dropped",
            TILES,
            (SetXfd(DATA), SetCpuid2(Table.NO_AMX), *reads, _GUEST_DISARMS, _GUEST_ARMS, *reads),
        ),
    )


def _xss() -> tuple[Scenario, ...]:
    values = (0, 0x800, 0x1000, 0x1800, 0x100, 1, 1 << 63)
    seen = (GetMsrs((Msr.IA32_XSS,)),)
    tried: list[Op] = [
        op
        for value in values
        for op in (
            GuestWrmsr(Msr.IA32_XSS, value),
            GuestRdmsr(Msr.IA32_XSS),
            GuestCpuidLeaf(0xD, 1),
        )
    ]
    for value in (0x1800, 0x800, 0):
        tried += [SetMsrs(((Msr.IA32_XSS, value),)), GuestRdmsr(Msr.IA32_XSS)]
    tables = (("plain", Table.NO_AMX), ("no-xsaves", Table.NO_XSAVES), ("no-xss", Table.NO_XSS))
    return tuple(
        scenario("xss", amx(part, table), (USE_XSAVE, *tried), seen) for part, table in tables
    )
