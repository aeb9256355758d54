"""The values that XCR0 may have, the lists that may set it, and that nothing else changes."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from kvmprobe.model.control import Cr4
from kvmprobe.scenarios.catalog._starts import (
    CFG_ALONE,
    DATA_ALONE,
    EMPTY,
    EVERY_COMPONENT,
    NO_CPUID,
    NO_XSAVE,
    PLAIN,
    STARTS,
    TILES,
    Start,
    scenario,
)
from kvmprobe.scenarios.ops.msrs import GetMsrs, GetXfd, SetXfd
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs, SetXcrsList
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import ScenarioStep
from kvmprobe.xstate.features import AVX512, MPX, XTILE, XFeature, numbers

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_FP, _SSE, _YMM, _PKRU = (f.bit for f in (XFeature.FP, XFeature.SSE, XFeature.YMM, XFeature.PKRU))
_APX = XFeature.APX.bit
_READ = (GetXcrs(),)
_AVX512_PARTS = (0, *(1 << nr for nr in numbers(AVX512)), AVX512 & ~0x20, AVX512 & ~0x80, AVX512)
_TILE_PARTS = (0, *(1 << nr for nr in numbers(XTILE)), XTILE)
_COMBINATIONS = tuple(
    _FP | sum(parts)
    for parts in product((0, _SSE), (0, _YMM), _AVX512_PARTS, (0, _PKRU), _TILE_PARTS)
)
_SINGLE = (0, *(1 << nr for nr in range(64)), *(_FP | _SSE | 1 << nr for nr in range(64)))
_MPX = (_FP | 0x8, _FP | 0x10, _FP | MPX)
_LISTS: tuple[SetXcrsList, ...] = (
    SetXcrsList(()),
    SetXcrsList(((0, 1), (0, 2))),
    SetXcrsList(((0, 3), (0, 1))),
    SetXcrsList(((0, 2), (0, 1))),
    SetXcrsList(((1, 7),)),
    SetXcrsList(((1, 7), (0, 1))),
    SetXcrsList(((0, 3), (1, 1))),
    SetXcrsList(((1, 2), (2, 2), (0, 2))),
    SetXcrsList(((0, 1),), flags=1),
    SetXcrsList((), flags=1 << 31),
    SetXcrsList(((0, 3),) * 16),
    SetXcrsList((*((5, 0),) * 15, (0, 1))),
    SetXcrsList(((0, 3),) * 17),
    SetXcrsList(((1, 3),) * 17),
)


def _steps(*ops: Op, reading: tuple[Op, ...] = _READ) -> tuple[ScenarioStep, ...]:
    return tuple(ScenarioStep(op, reading) for op in ops)


def _single(start: Start) -> Scenario:
    return scenario("xcrs", "single", start, *_steps(*map(SetXcrs, (*_SINGLE, *_MPX))))


def _combined(start: Start) -> Scenario:
    return scenario("xcrs", "combinations", start, *_steps(*map(SetXcrs, _COMBINATIONS)))


def _of(start: Start, host: HostProfile) -> tuple[Scenario, ...]:
    wide = host.kvm_xcr0
    beyond = (wide, wide | 1 << 19, wide | 1 << 63, wide & ~_FP, wide & ~_SSE, 1)
    xsave = SetXsave(host.kvm_xcr0 & ~XTILE & ~MPX)
    others = (GetXcrs(), GetXsave2(), GetXfd(), GetMsrs((0xDA0,)))
    osxsave = (GetSregs(), SetSregs(Cr4.OSXSAVE.bit), SetXcrs(3), SetSregs(0), SetXcrs(7))
    return (
        _single(start),
        _combined(start),
        scenario("xcrs", "lists", start, *_steps(*_LISTS)),
        scenario("xcrs", "beyond", start, *_steps(xsave, *map(SetXcrs, beyond), reading=others)),
        scenario("xcrs", "osxsave", start, *_steps(*osxsave, reading=(GetXcrs(), GetSregs()))),
    )


def _apx(start: Start) -> Scenario:
    """Give XCR0 and XSTATE_BV the component that has the place of MPX."""
    sse = _FP | _SSE
    values = (sse | _APX, sse | _APX | MPX, sse | _APX | _YMM, sse | _APX | 0x8, sse | _APX | 0x10)
    images = (SetXsave(_APX), SetXsave(_FP | _APX), SetXsave(sse | _APX | MPX), SetXsave(sse))
    reading = (GetXcrs(), GetXsave2())
    return scenario("xcrs", "apx", start, *_steps(*map(SetXcrs, values), *images, reading=reading))


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the family for a guest without CPUID, with CPUID, with tiles; and with XFD armed."""
    armed = (SetXsave(XTILE), *map(SetXcrs, (host.kvm_xcr0, 7, XTILE | 1, 1)), SetXfd(0))
    restored = (SetXfd(XFeature.XTILE_DATA.bit), *armed)
    reading = (GetXcrs(), GetXfd(), GetXsave2())
    return (
        *(s for start in STARTS for s in _of(start, host)),
        *(_single(start) for start in (EMPTY, NO_XSAVE)),
        *(_combined(start) for start in (CFG_ALONE, DATA_ALONE)),
        *(_apx(start) for start in (NO_CPUID, PLAIN, EVERY_COMPONENT)),
        scenario("xcrs", "armed", TILES, *_steps(*restored, reading=reading)),
    )
