"""The CPUID that KVM offers and accepts, a vCPU's table after that, and what depends on it.

Tables may be legal or not.  XCR0, XFD and XSTATE are tried after each one, and show what the guest
may have.  A call that fails must not change anything.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.scenarios.calls import Relation
from kvmprobe.scenarios.cpuid_tables import LITERAL, Table
from kvmprobe.scenarios.ops.cpuid import (
    CheckXsave2,
    GetCpuid2,
    GetSupportedCpuid,
    SetCpuid,
    SetCpuid2,
    SetCutOffCpuid2,
    SetTooManyCpuid2,
)
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetXfd, SetMsrs, SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.process import SpawnTask
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import AVX512, CET, FPSSE, XTILE, XFeature

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

FAMILY = "cpuid"
OBSERVERS: tuple[Op, ...] = (GetCpuid2(), GetXsave2(), GetXcrs(), GetXfd())
_ASK = RequestGuestPermission(XFeature.XTILE_DATA)
_VCPU: tuple[Op, ...] = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu())
_PERMISSIONS: tuple[tuple[str, tuple[Op, ...], Needs], ...] = (
    ("perm-none", (), ANYWHERE),
    ("perm-granted", (_ASK,), AMX),
)
_AVX = FPSSE | XFeature.YMM.bit
# Legal and illegal ones; PKRU, AVX-512 and tiles with and without their prerequisites.
_XCR0S = (
    FPSSE,
    _AVX,
    _AVX | AVX512,
    FPSSE | XFeature.PKRU.bit,
    FPSSE | XTILE,
    _AVX | AVX512 | XFeature.PKRU.bit | XTILE,
    XFeature.FP.bit | XFeature.YMM.bit,
    FPSSE | XFeature.XTILE_CFG.bit,
    XFeature.FP.bit,
)
_TILES = SetXcrs(FPSSE | XTILE)
_ARM, _DISARM = SetXfd(XFeature.XTILE_DATA.bit), SetXfd(0)
# Without tile data in XSTATE, which XFD would affect.
_REARMED: tuple[Op, ...] = (SetXsave(FPSSE), _ARM, _DISARM)
_OSXSAVE, _PKE = 1 << 18, 1 << 22
_XSS_VALUES = (0, CET, XFeature.CET_USER.bit, XFeature.PT.bit, 0)
# Tried after each table.  XSTATE has no tiles, so no order of these is fatal.
_FOREIGN = SetXcrs(XFeature.FP.bit | XFeature.PT.bit)
_TRIED: tuple[Op, ...] = (SetXcrs(_AVX), _TILES, _FOREIGN, _ARM, SetXsave(FPSSE))
# Tables that leave XSTATE to the guest in different ways.
_KINDS = (
    Table.FULL,
    Table.NO_AMX,
    Table.TILE_CFG_ALONE,
    Table.TILE_DATA_ALONE,
    Table.ALL_XCR0,
    Table.EMPTY,
    Table.NO_XSTATE_LEAF,
)
_CURRENT = (
    Table.FULL,
    Table.NO_AMX,
    Table.NO_XSAVEC,
    Table.NO_COMPACTION,
    Table.RUNTIME_FIELDS,
    Table.INDEXED,
)
_VERSION_1 = (Table.FULL, Table.NO_AMX, Table.EMPTY, Table.BAD_ADDRESS_SIZES)


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:  # noqa: ARG001
    """Return the family; it is the same on every host."""
    return (
        *_supported(),
        *_set(),
        *_set_twice(),
        *_after_run(),
        *_refused(),
        *_read(),
        *_current(),
        *_by_tasks(),
    )


def _scenario(row: str, column: str, ops: Iterable[Op], needs: Needs = ANYWHERE) -> Scenario:
    steps = tuple(ScenarioStep(op, OBSERVERS if _observed(op) else ()) for op in ops)
    return Scenario(f"{FAMILY}.{row}.{column}", row, column, steps, needs)


def _observed(op: Op) -> bool:
    changing = (SetCpuid2, SetCpuid, SetTooManyCpuid2, SetCutOffCpuid2, SetXcrs, SetXfd)
    return isinstance(op, (*changing, RunUntilHalt, RunImmediateExit, SetSregs, SetMsrs))


def _supported() -> Iterator[Scenario]:
    """Read what is supported before and after the permission, and set an old list."""
    table = GetSupportedCpuid()
    yield _scenario("supported", "perm-none", (*_VCPU, table, CheckXsave2(), SetCpuid2()))
    late = (OpenKvm(), table, _ASK, table, CreateVm(), CheckXsave2(), CreateVcpu(), table)
    yield _scenario("supported", "perm-granted", (*late, SetCpuid2()), AMX)
    refused = (*_VCPU, table, _ASK, table, CheckXsave2(), SetCpuid2())
    yield _scenario("supported", "perm-late", refused, AMX)
    stale = (OpenKvm(), table, _ASK, CreateVm(), CreateVcpu(), SetCpuid2(), _TILES, _ARM)
    yield _scenario("supported", "stale", (*stale, table, SetCpuid2(), _TILES), AMX)


def _set() -> Iterator[Scenario]:
    """Set each table; then run, and set the same table again."""
    for column, ask, needs in _PERMISSIONS:
        for variant in LITERAL:
            give = SetCpuid2(variant)
            ops = (*ask, *_VCPU, give, *_TRIED, give, RunUntilHalt(), give)
            yield _scenario(f"set-{variant}", column, ops, needs)
        for variant in _VERSION_1:
            old = SetCpuid(variant)
            ops = (*ask, *_VCPU, old, *_TRIED, old, RunUntilHalt(), old)
            yield _scenario(f"set-version-1-{variant}", column, ops, needs)


def _set_twice() -> Iterator[Scenario]:
    """Set two tables, and the first again, with tile data in between."""
    tiles = SetXsave(FPSSE | XTILE)
    for first, second in permutations(_KINDS, 2):
        one, other = SetCpuid2(first), SetCpuid2(second)
        ops = (_ASK, *_VCPU, one, _TILES, tiles, other, _TILES, tiles, one, *_REARMED)
        yield _scenario("twice", f"{first}-then-{second}", ops, AMX)
    for first, second in ((Table.FULL, Table.NO_AMX), (Table.NO_AMX, Table.FULL)):
        one, other = SetCpuid2(first), SetCpuid2(second)
        ops = (_ASK, *_VCPU, tiles, one, _TILES, _ARM, other, _TILES, _ARM, _DISARM, _ARM, one)
        yield _scenario("twice-armed", f"{first}-then-{second}", ops, AMX)


def _after_run() -> Iterator[Scenario]:
    """Set each table after a run and after an immediate exit; a refused one changes nothing."""
    for base, ask, needs in (
        (Table.NO_AMX, (), ANYWHERE),
        (Table.EMPTY, (), ANYWHERE),
        (Table.FULL, (_ASK,), AMX),
    ):
        give = SetCpuid2(base)
        others = [SetCpuid2(variant) for variant in LITERAL]
        ran = (*ask, *_VCPU, give, RunUntilHalt(), *others, give)
        yield _scenario("after-run", base, ran, needs)
        kicked = (*ask, *_VCPU, give, RunImmediateExit(), *others, give, RunUntilHalt(), give)
        yield _scenario("after-immediate-exit", base, kicked, needs)
    plain = SetCpuid2(Table.NO_AMX)
    first = (*_VCPU, RunUntilHalt(), plain, SetCpuid2(Table.EMPTY))
    yield _scenario("after-run", "no-table", first)
    grown = (*_VCPU, plain, RunUntilHalt(), SetXcrs(_AVX), plain, SetCpuid2(Table.RUNTIME_FIELDS))
    yield _scenario("after-run", "xcr0", grown)
    osxsave = (*_VCPU, GetSregs(), plain, RunUntilHalt(), SetSregs(_OSXSAVE), plain)
    yield _scenario("after-run", "osxsave", (*osxsave, SetCpuid2(Table.RUNTIME_FIELDS)))


def _refused() -> Iterator[Scenario]:
    """Set lists that cannot be read or are too long, on a vCPU without and with a table."""
    bad: tuple[Op, ...] = (SetTooManyCpuid2(), *(SetCutOffCpuid2(size) for size in (0, 7, 8, 47)))
    full = SetCpuid2(Table.NO_AMX)
    ops = (*_VCPU, *bad, full, SetXcrs(_AVX), *bad, RunUntilHalt(), *bad)
    yield _scenario("refused", "lists", ops)
    addresses = SetCpuid2(Table.BAD_ADDRESS_SIZES)
    order = (*_VCPU, addresses, SetCpuid2(Table.FULL), addresses, full, addresses)
    yield _scenario("refused", "before-permission", order, AMX)


def _read() -> Iterator[Scenario]:
    """Read with less room, as much and more; set what was read."""
    plain, back = SetCpuid2(Table.NO_AMX), SetCpuid2(Table.READ_BACK)
    blank = (GetCpuid2(room=0), GetCpuid2(room=1), GetCpuid2())
    yield _scenario("read", "no-table", (*_VCPU, *blank, back, GetCpuid2()))
    rooms = tuple(GetCpuid2(room=room) for room in (0, 1, 2, 200, 256))
    yield _scenario("read", "room", (*_VCPU, plain, *rooms, SetCpuid2(Table.EMPTY), *rooms))
    yield _scenario("read", "one-leaf", (*_VCPU, SetCpuid2(Table.ONE_LEAF), *rooms))
    trip = (*_VCPU, plain, SetXcrs(_AVX), GetCpuid2(), back, SetXcrs(FPSSE), back)
    yield _scenario("read", "round-trip", trip)
    yield _scenario("read", "round-trip-after-run", (*trip, RunUntilHalt(), back))


def _current() -> Iterator[Scenario]:
    """Change what values of a table depend on: XCR0, XSS, CR4."""
    for column, ask, needs in _PERMISSIONS:
        for variant in _CURRENT:
            if variant is Table.NO_AMX or needs:
                set_all = (SetXcrs(value) for value in _XCR0S)
                ops = (*ask, *_VCPU, SetCpuid2(variant), *set_all, SetCpuid2(Table.LEGACY))
                yield _scenario(f"xcr0-{variant}", column, (*ops, SetXcrs(_AVX)), needs)
    xss = [SetMsrs(((Msr.IA32_XSS, value),)) for value in _XSS_VALUES]
    for variant in (Table.NO_AMX, Table.CET, Table.NO_XSS, Table.NO_XSAVES):
        needs = ANYWHERE if variant is Table.NO_AMX else AMX
        ask = (_ASK,) if needs else ()
        ops = (*ask, *_VCPU, SetCpuid2(variant), *xss, xss[1], SetXcrs(_AVX), SetCpuid2(variant))
        yield _scenario(f"xss-{variant}", "values", (*ops, SetCpuid2(Table.NO_XSS)), needs)
    cr4 = [SetSregs(value) for value in (0, _OSXSAVE, _OSXSAVE | _PKE, _PKE, 0)]
    early = (*_VCPU, GetSregs(), *cr4, SetCpuid2(Table.NO_AMX), *cr4)
    yield _scenario("cr4", "no-amx", early)
    for variant in (Table.NO_XSAVE, Table.NO_PKU, Table.EMPTY, Table.INDEXED):
        ops = (*_VCPU, GetSregs(), SetCpuid2(Table.NO_AMX), cr4[2], SetCpuid2(variant), *cr4)
        needs = ANYWHERE if variant is Table.EMPTY else AMX
        yield _scenario("cr4", variant, (_ASK, *ops) if needs else ops, needs)


def _by_tasks() -> Iterator[Scenario]:
    """Set and read tables from other tasks: permission is the caller's, the vCPU the memory's."""
    for relation in Relation.THREAD, Relation.FORK, Relation.SHARED_MM:
        task = relation.value
        table, give = GetSupportedCpuid(by=task), SetCpuid2(Table.FULL, by=task)
        ask = RequestGuestPermission(XFeature.XTILE_DATA, by=task)
        spawn, own = SpawnTask(task, relation), SetCpuid2(Table.FULL)
        granted = (_ASK, OpenKvm(), CreateVm(), CreateVcpu(), spawn, table, give, own)
        yield _scenario("by-actor-granted", task, granted, AMX)
        plain = SetCpuid2(Table.NO_AMX, by=task)
        without = (*_VCPU, spawn, plain, GetCpuid2(by=task), RunUntilHalt(), plain)
        yield _scenario("by-actor-plain", task, without)
        if relation is Relation.FORK:
            continue
        # A forked process would have neither the VM's descriptor nor its memory.
        asked = (OpenKvm(), spawn, CreateVm(), table, ask, table, CreateVcpu(), give, own)
        again = (CheckXsave2(), SetCpuid2(Table.NO_AMX), own, give, GetCpuid2(by=task))
        yield _scenario("by-actor", task, (*asked, *again), AMX)
