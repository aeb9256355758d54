"""Scenarios that go on in another vCPU, VM or process: state is saved, and restored before a step.

The new vCPU takes the old one's name, so the steps that follow are the same.  Only where what the
scenario has set is what is saved: registers, XCR0, XFD, XFD_ERR, XSS and XSTATE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.guest_migration import Part
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.derived import Aspect
from kvmprobe.scenarios.domain import judgeable
from kvmprobe.scenarios.ops.cpuid import CheckXsave2, GetCpuid2, GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.fpu import SetFpu
from kvmprobe.scenarios.ops.guest_migration import RestoreVcpu, SaveVcpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import SetXfd, SetXfdErr
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.process import ContinueInChild
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import SetXsave
from kvmprobe.scenarios.relations.derivation import Derivation, Rewritten
from kvmprobe.scenarios.relations.repeats import inserted, is_run, sets_cpuid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_SAVED = (
    OpenKvm | CreateVm | CreateVcpu | MapHalt | RequestGuestPermission | GetSupportedCpuid
    | CheckXsave2 | GetCpuid2 | SetCpuid2 | SetXfd | SetXfdErr | SetXsave | SetFpu | SetXcrs
    | GetSregs | SetSregs | RunUntilHalt | RunImmediateExit
)  # fmt: skip
# XCR0 and XFD come before XSTATE, and what CPUID allows before both.
_ORDER = (
    Part.SREGS,
    Part.MSRS,
    Part.XCRS,
    Part.XSAVE,
    Part.REGS,
    Part.EVENTS,
    Part.DEBUGREGS,
)
_OTHER_ID = 1


def _moved(*made: Op) -> tuple[Op, ...]:
    return (
        GetCpuid2(),
        *(SaveVcpu(part, VCPU) for part in Part),
        *made,
        SetCpuid2(Table.READ_BACK),
        *(RestoreVcpu(part, VCPU, VCPU) for part in _ORDER),
    )


_TO_VCPU = _moved(CreateVcpu(id=_OTHER_ID))
_NEW_VM = (CreateVm(), MapHalt(), CreateVcpu())
_TO_VM = _moved(*_NEW_VM)
_TO_PROCESS = _moved(ContinueInChild(), *_NEW_VM)


def _places(base: Scenario, ops: tuple[Op, ...]) -> Iterator[str]:
    steps = [step.op for step in base.steps]
    tables = [number for number, op in enumerate(steps) if sets_cpuid(op)]
    if len(tables) != 1 or not all(isinstance(op, _SAVED) for op in steps):
        return
    runs = (number for number, op in enumerate(steps) if is_run(op))
    for number in range(tables[0] + 1, min(next(runs, len(steps)) + 1, len(steps))):
        if judgeable((*steps[:number], *ops, *steps[number:]), sapphire_rapids()):
            yield str(number)


def _derivation(name: str, summary: str, ops: tuple[Op, ...]) -> Derivation:
    def variants(base: Scenario) -> Iterator[str]:
        return _places(base, ops)

    def rewrite(base: Scenario, variant: str) -> Rewritten:
        return inserted(base, int(variant), ops)

    return Derivation(name, summary, Aspect.PLACE, rf"{name}-\d+", variants, rewrite)


MOVED_VCPU = _derivation("moved-vcpu", "goes on in a new vCPU from that step on", _TO_VCPU)
MOVED_VM = _derivation("moved-vm", "goes on in a new VM from that step on", _TO_VM)
MOVED_PROCESS = _derivation(
    "moved-process", "goes on in a new process, with a new VM, from that step on", _TO_PROCESS
)
