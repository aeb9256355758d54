"""Two vCPUs whose restores interleave, and one vCPU that several threads restore.

A call on one vCPU changes nothing of the other one: after each step the state of both is read.
Permission belongs to the process, so both have it or neither.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING

from kvmprobe.scenarios.calls import MAIN, Relation
from kvmprobe.scenarios.calls import VCPU as FIRST
from kvmprobe.scenarios.catalog._starts import ASK
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetXfd, SetXfd
from kvmprobe.scenarios.ops.process import SpawnTask
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import DYNAMIC, FPSSE, XFeature

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_SECOND, _VM1 = "vcpu1", "vm1"
_YMM = XFeature.YMM.bit
_THREAD, _SHARED = Relation.THREAD, Relation.SHARED_MM
# Of the interleavings of three and three steps, those in which the vCPUs take turns.
_IN_TURN = ("010101", "101010")


@dataclass(frozen=True, slots=True)
class _Pair:
    """What is restored into two vCPUs, one call after the other; tiles into the first alone."""

    part: str
    first: tuple[Op, ...]
    second: tuple[Op, ...]
    needs: Needs = ANYWHERE

    def by(self, task: str) -> tuple[Op, ...]:
        """Return the calls on the second vCPU as a task makes them."""
        return tuple(replace(op, by=task) for op in self.second)  # type: ignore[type-var]


def _pairs(host: HostProfile) -> tuple[_Pair, ...]:
    every, full = host.kvm_xcr0, Table.FULL
    plain, tiles, armed = (
        (SetCpuid2(Table.NO_AMX), SetXcrs(FPSSE | _YMM), SetXsave(FPSSE | _YMM)),
        (SetCpuid2(full), SetXcrs(every), SetXsave(every)),
        (SetCpuid2(full, vcpu=_SECOND), SetXfd(DYNAMIC, _SECOND), SetXsave(_YMM, _SECOND)),
    )
    other = (
        SetCpuid2(Table.NO_AMX, vcpu=_SECOND),
        SetXcrs(FPSSE, _SECOND),
        SetXsave(XFeature.SSE.bit, _SECOND),
    )
    return (
        _Pair("plain", plain, other),
        _Pair("tiles", tiles, armed, AMX),
        _Pair("tiles-beside-none", tiles, other, AMX),
    )


def _interleaved(orders: Iterable[str], pair: _Pair, second: Sequence[Op]) -> Iterator[list[Op]]:
    for order in orders:
        left = {"0": iter(pair.first), "1": iter(second)}
        yield [next(left[which]) for which in order]


def _orders() -> tuple[str, ...]:
    """Return all interleavings of three steps and three, as the numbers of the vCPUs."""
    places = combinations(range(6), 3)
    return tuple("".join("0" if n in first else "1" for n in range(6)) for first in places)


def _reads(*vcpus: str) -> tuple[Op, ...]:
    return tuple(read for v in vcpus for read in (GetXsave2(v), GetXcrs(v), GetXfd(v)))


def _steps(made: Iterable[Op], restored: Iterable[Op], *vcpus: str) -> tuple[ScenarioStep, ...]:
    runs = [run for v in vcpus for run in (RunImmediateExit(v), RunUntilHalt(v))]
    seen = (ScenarioStep(op, _reads(*vcpus)) for op in (*restored, *runs))
    return (*map(ScenarioStep, made), *seen)


_ONE_VM: tuple[Op, ...] = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu())
_MADE: dict[str, tuple[Op, ...]] = {
    "one-vm": (*_ONE_VM, CreateVcpu(_SECOND, id=1)),
    "two-vms": (*_ONE_VM, CreateVm(_VM1), MapHalt(_VM1), CreateVcpu(_SECOND, _VM1)),
}


def _two(host: HostProfile) -> Iterator[Scenario]:
    """Yield two vCPUs of one process, in one VM and in two."""
    for pair, (place, made) in product(_pairs(host), _MADE.items()):
        orders = _orders() if place == "one-vm" else _IN_TURN
        for order, ops in zip(orders, _interleaved(orders, pair, pair.second), strict=True):
            steps = _steps((ASK, *made), ops, FIRST, _SECOND)
            row, column = f"{place}.{order}", pair.part
            yield Scenario(f"vcpus.{row}.{column}", row, column, steps, pair.needs)


def _by_tasks(host: HostProfile) -> Iterator[Scenario]:
    """Yield two vCPUs, the second of which a thread or another process restores."""
    for pair, task in product(_pairs(host), (_THREAD, _SHARED)):
        made = (ASK, *_MADE["one-vm"], SpawnTask(task, task))
        for order, ops in zip(_IN_TURN, _interleaved(_IN_TURN, pair, pair.by(task)), strict=True):
            row, column = f"{task}.{order}", pair.part
            steps = _steps(made, ops, FIRST, _SECOND)
            yield Scenario(f"vcpus.{row}.{column}", row, column, steps, pair.needs)


def _same(host: HostProfile) -> Iterator[Scenario]:
    """Yield one vCPU that two threads restore, each of the calls by either; one of them runs it."""
    made = (ASK, *_ONE_VM, SpawnTask(_THREAD, _THREAD))
    for pair, callers in product(_pairs(host)[:2], product((MAIN, _THREAD), repeat=3)):
        restored = [
            replace(op, by=task)  # type: ignore[type-var]
            for op, task in zip(pair.first, callers, strict=True)
        ]
        runs = (RunImmediateExit(by=_THREAD), RunUntilHalt(by=_THREAD))
        row = f"same.{''.join('1' if task else '0' for task in callers)}"
        steps = _steps(made, (*restored, *runs), FIRST)
        yield Scenario(f"vcpus.{row}.{pair.part}", row, pair.part, steps, pair.needs)


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return them; an id has which vCPU each step is about, or which thread makes it."""
    return (*_two(host), *_by_tasks(host), *_same(host))
