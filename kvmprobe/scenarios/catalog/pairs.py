"""Every pair of restore calls in both orders, after the calls that they need, and fully read back.

A checker compares both orders and finds values that one of them changes silently; the model says
what each call returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import GetCpuid2, GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetMsrs, GetXfd, SetMsrs, SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import DYNAMIC, FPSSE, XTILE, XFeature

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

# KVM_GET_FPU has its own family: a defect of it would show in almost every pair.
OBSERVERS: tuple[Op, ...] = (
    GetXsave2(),
    GetXcrs(),
    GetXfd(),
    GetMsrs((Msr.IA32_XSS,)),
    GetCpuid2(),
    GetSregs(),
)
_OSXSAVE = 1 << 18


@dataclass(frozen=True, slots=True)
class Call:
    """One of the calls that are paired.

    :ivar before: names of the calls that it needs to succeed
    """

    name: str
    op: Op
    before: tuple[str, ...]
    needs: Needs = ANYWHERE


def _calls(host: HostProfile) -> Mapping[str, Call]:
    """Return the calls in the order in which a guest is set up."""
    vcpu = ("perm", "vm", "vcpu")
    calls = (
        Call("perm", RequestGuestPermission(XFeature.XTILE_DATA), (), AMX),
        Call("vm", CreateVm(), ()),
        Call("vcpu", CreateVcpu(), ("perm", "vm")),
        Call("cpuid", SetCpuid2(Table.FULL), vcpu),
        Call("cpuid-no-amx", SetCpuid2(Table.NO_AMX), vcpu),
        Call("xcr0", SetXcrs(host.kvm_xcr0), (*vcpu, "cpuid")),
        Call("xfd", SetXfd(DYNAMIC), (*vcpu, "cpuid"), AMX),
        Call("xss", SetMsrs(((Msr.IA32_XSS, host.kvm_xss),)), (*vcpu, "cpuid")),
        Call("osxsave", SetSregs(_OSXSAVE), (*vcpu, "cpuid")),
        Call("tiles", SetXsave(XTILE | FPSSE), (*vcpu, "cpuid"), AMX),
        Call("legacy", SetXsave(FPSSE), vcpu),
        Call("run", RunUntilHalt(), (*vcpu, "cpuid")),
        Call("kick", RunImmediateExit(), vcpu),
    )
    return {call.name: call for call in calls}


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return both orders of each pair that has two, and advertised values of XCR0."""
    calls = _calls(host)
    found: list[Scenario] = []
    for one, other in combinations(calls, 2):
        # Without the VM there is no vCPU, without the vCPU nothing to restore.
        if one == "vcpu" or (one == "vm" and other != "perm"):
            continue
        if "run" in {one, other} and "kick" in {one, other}:
            continue
        found += [_scenario(calls, one, other), _scenario(calls, other, one)]
    return (*found, *_advertised(host))


def _scenario(calls: Mapping[str, Call], first: str, second: str) -> Scenario:
    names = list(_sequence(calls, first, second))
    return Scenario(
        id=f"pair.{first}.{second}",
        row=first,
        column=second,
        steps=_steps(calls[name].op for name in names),
        needs=calls[first].needs | calls[second].needs,
    )


def _sequence(calls: Mapping[str, Call], first: str, second: str) -> Iterator[str]:
    """Yield both, first before second, and each call that they need as late as possible.

    A call that needs one of the two follows it, so the other may precede a call that it needs.
    """
    pair = {first, second}
    needed = [n for n in calls if n in {*calls[first].before, *calls[second].before} - pair]
    free = [n for n in needed if not pair & {*calls[n].before}]
    yield from free
    yield from (n for n in needed if n not in free and n in calls[first].before)
    yield first
    yield from (n for n in needed if n not in free and n not in calls[first].before)
    yield second


def _steps(ops: Iterable[Op]) -> tuple[ScenarioStep, ...]:
    steps = [ScenarioStep(OpenKvm())]
    there = False
    for op in ops:
        there = there or isinstance(op, CreateVcpu)
        steps.append(ScenarioStep(op, OBSERVERS if there else ()))
        if isinstance(op, CreateVm):
            steps.append(ScenarioStep(MapHalt()))
    return tuple(steps)


def _advertised(host: HostProfile) -> Iterator[Scenario]:
    """Set the table that KVM supports without permission, then all of XCR0 that it allows.

    With and without XTILE_CFG, which a kernel may advertise alone, but XCR0 cannot have alone.
    """
    without = host.kvm_xcr0 & host.default_permission
    vcpu = (OpenKvm(), CreateVm(), CreateVcpu(), GetSupportedCpuid(), SetCpuid2())
    for column, value in (("tile-cfg", without), ("no-tiles", without & ~XTILE)):
        observed = ScenarioStep(SetXcrs(value), OBSERVERS)
        steps = (*(ScenarioStep(op) for op in vcpu), observed)
        yield Scenario(f"pair.advertised.{column}", "advertised", column, steps)
