"""The scenario that replays attached parts: a new vCPU gets them in the order of a restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.errors import UsageError
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.attached.parts import Leaves, Sregs, Template, XsaveImage
from kvmprobe.scenarios.document import check_domain
from kvmprobe.scenarios.ops.cpuid import GetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.literal import (
    SetCpuid2Entries,
    SetCpuid2Template,
    SetSregs2Literal,
    SetSregsLiteral,
    SetUnknownMsr,
    SetXsaveLiteral,
)
from kvmprobe.scenarios.ops.msrs import KNOWN_MSRS, GetMsrs, SetMsrs
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs
from kvmprobe.scenarios.ops.system import CheckExtension
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.cpuid import CpuidTable
from kvmprobe.xstate.features import DYNAMIC, XFeature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmprobe.scenarios.attached.parts import Part
    from kvmprobe.scenarios.ops import Op

_ASK: tuple[Op, ...] = (RequestGuestPermission(XFeature.XTILE_DATA),)
_VCPU: tuple[Op, ...] = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu())


def replaying(name: str, files: Mapping[str, Part]) -> Scenario:
    """Return the scenario with this id that gives a vCPU what the files have.

    :param files: what was read, by the file's name
    :raises UsageError: two files give the same
    :raises ScenarioError: the model does not cover a value
    """
    _check_once(files)
    parts = list(files.values())
    steps = [ScenarioStep(op) for op in (*_permission(parts), *_VCPU)]
    for kind in (Template, Leaves, Sregs, XsaveImage):
        steps += [step for part in parts if isinstance(part, kind) for step in _steps(part)]
    if not any(isinstance(part, Sregs) for part in parts):
        steps.append(ScenarioStep(RunUntilHalt(), (GetXsave2(), GetXcrs())))
    scenario = Scenario(name, name, "", tuple(steps))
    check_domain(scenario, sapphire_rapids())
    return scenario


def _check_once(files: Mapping[str, Part]) -> None:
    given: dict[str, str] = {}
    for file, part in files.items():
        what = "CPUID" if isinstance(part, Template | Leaves) else type(part).__name__
        if what in given:
            raise UsageError(f"{file}: gives {what}, and so does {given[what]}; leave one of them")
        given[what] = file


def _permission(parts: Sequence[Part]) -> tuple[Op, ...]:
    """Return the request that a table with XTILE_DATA needs, whatever the host offers."""
    tables = [CpuidTable(part.entries) for part in parts if isinstance(part, Leaves)]
    offered = any(isinstance(part, Template) for part in parts)
    return _ASK if offered or any(table.xcr0 & DYNAMIC for table in tables) else ()


def _steps(part: Part) -> Iterator[ScenarioStep]:
    match part:
        case Template():
            yield from (ScenarioStep(CheckExtension(cap)) for cap in part.capabilities)
            yield ScenarioStep(SetCpuid2Template(part.changes), (GetCpuid2(),))
            yield from map(_msr, part.msrs)
        case Leaves():
            yield ScenarioStep(SetCpuid2Entries(part.entries), (GetCpuid2(),))
        case Sregs():
            whole = len(part.content) == ioctls.KVM_SREGS.size
            op = SetSregsLiteral(part.content) if whole else SetSregs2Literal(part.content)
            yield ScenarioStep(op, (GetSregs(), GetCpuid2()))
        case XsaveImage():
            yield ScenarioStep(SetXsaveLiteral(part.image), (GetXsave2(),))


def _msr(entry: tuple[int, int]) -> ScenarioStep:
    index, value = entry
    if index not in KNOWN_MSRS:
        return ScenarioStep(SetUnknownMsr(index, value))
    return ScenarioStep(SetMsrs((entry,)), (GetMsrs((index,)),))
