"""Pairs of calls on a vCPU, and the states in which both orders of each pair are tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.ops.cpuid import GetCpuid2, SetCpuid2
from kvmprobe.scenarios.ops.fpu import FpuContent, GetFpu, SetFpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetMsrs, GetXfd, SetMsrs, SetXfd, SetXfdErr
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, GetSregs2, SetSregs, SetSregs2
from kvmprobe.scenarios.ops.vcpu_state import (
    CreateIrqchip,
    GetDebugregs,
    GetLapic,
    GetMpState,
    GetRegs,
    GetVcpuEvents,
    SetDebugregs,
    SetLapic,
    SetMpState,
    SetRegs,
    SetVcpuEvents,
)
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.search.graph import Edge, Graph, Node, Way
from kvmprobe.xstate.features import DYNAMIC, FPSSE, XTILE, XFeature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_OSXSAVE = 1 << 18
_ASK = RequestGuestPermission(XFeature.XTILE_DATA)
_APIC_BASE, _TSC_DEADLINE, _PAT, _STAR = 0x1B, 0x6E0, 0x277, 0xC000_0081
# SDM vol.3 table 12-6 "Local APIC Register Address Map Supported by x2APIC", and figure 12-8.
_X2APIC_LVT_TIMER = 0x832
_ENABLED_X2APIC = 0xFEE0_0D00
_IN_DEADLINE_MODE, _MASKED = 0x4_0000, 0x1_0000
_FAR = 1 << 62
_DIRTY_PAT = 0x0007_0406_0007_0400
_HALTED = 3

_READS: tuple[Op, ...] = (
    GetXsave2(),
    GetXcrs(),
    GetXfd(),
    GetMsrs((Msr.IA32_XSS,)),
    GetCpuid2(),
    GetFpu(),
    GetSregs(),
    GetRegs(),
    GetVcpuEvents(),
    GetMpState(),
    GetDebugregs(),
    GetMsrs((_PAT,)),
    GetMsrs((_STAR,)),
)
_READS_OF_LAPIC: tuple[Op, ...] = (GetLapic(), GetMsrs((_TSC_DEADLINE,)), GetMsrs((_APIC_BASE,)))
# What the calls write back must have been read.
_KEPT: tuple[Op, ...] = (
    GetSregs(),
    GetSregs2(),
    GetRegs(),
    GetVcpuEvents(),
    GetMpState(),
    GetDebugregs(),
)


def starts(host: HostProfile) -> Mapping[str, tuple[Op, ...]]:
    """Return the states, each by the calls that lead there, the smallest first."""
    vcpu = (_ASK, OpenKvm(), CreateVm(), MapHalt(), CreateVcpu(), *_KEPT)
    cpuid = (*vcpu, SetCpuid2(Table.FULL), SetSregs(_OSXSAVE))
    lapic = (_ASK, OpenKvm(), CreateVm(), CreateIrqchip(), CreateVcpu(), *_KEPT)
    mode = SetMsrs(((_APIC_BASE, _ENABLED_X2APIC), (_X2APIC_LVT_TIMER, _IN_DEADLINE_MODE)))
    return {
        "vcpu": vcpu,
        "cpuid": cpuid,
        "xcr0": (*cpuid, SetXcrs(host.kvm_xcr0)),
        "tiles": (*cpuid, SetXcrs(host.kvm_xcr0), SetXsave(XTILE | FPSSE)),
        # The saved LAPIC is in TSC-deadline mode, and the vCPU's is not.
        "lapic": (
            *lapic,
            SetCpuid2(Table.TSC_DEADLINE),
            mode,
            GetLapic(),
            SetMsrs(((_X2APIC_LVT_TIMER, _MASKED),)),
        ),
    }


def calls(host: HostProfile) -> Mapping[str, Op]:
    """Return the calls by name: each with one value of a class."""
    every = host.kvm_xcr0
    return {
        "perm": _ASK,
        "cpuid": SetCpuid2(Table.FULL),
        "cpuid-no-amx": SetCpuid2(Table.NO_AMX),
        "cpuid-empty": SetCpuid2(Table.EMPTY),
        "sregs-osxsave": SetSregs(_OSXSAVE),
        "sregs-reset": SetSregs(0),
        "sregs2-osxsave": SetSregs2(_OSXSAVE),
        "regs": SetRegs(0x1234),
        "xcr0-all": SetXcrs(every),
        "xcr0-x87": SetXcrs(1),
        "xfd-armed": SetXfd(DYNAMIC),
        "xfd-zero": SetXfd(0),
        "xfd-err": SetXfdErr(DYNAMIC),
        "xss": SetMsrs(((Msr.IA32_XSS, host.kvm_xss),)),
        "pat": SetMsrs(((_PAT, _DIRTY_PAT),)),
        "star": SetMsrs(((_STAR, _FAR),)),
        "apic-base": SetMsrs(((_APIC_BASE, _ENABLED_X2APIC),)),
        "tsc-deadline": SetMsrs(((_TSC_DEADLINE, _FAR),)),
        "lapic": SetLapic(),
        "xsave-tiles": SetXsave(XTILE | FPSSE),
        "xsave-legacy": SetXsave(FPSSE),
        "xsave-init": SetXsave(0),
        "fpu": SetFpu(FpuContent.FIRST),
        "events": SetVcpuEvents(),
        "mp-halted": SetMpState(_HALTED),
        "mp-runnable": SetMpState(0),
        "debugregs": SetDebugregs(0x1000),
        "kick": RunImmediateExit(),
        "run": RunUntilHalt(),
        "vcpu2": CreateVcpu("vcpu1", id=1),
    }


def reads(start: str) -> tuple[Op, ...]:
    """Return what is read behind both calls."""
    return (*_READS, *_READS_OF_LAPIC) if start == "lapic" else _READS


def graph(host: HostProfile, start: Sequence[Op], made: Sequence[Op]) -> Graph:
    """Return the graph in which each call is followed by each other one that is possible there.

    :raises ScenarioError: the model cannot judge the start on this host
    """
    domain = Domain(host.without_defects)
    for op in start:
        domain.follow(op)
    root = Node(0, (), domain.machine, domain)
    found = Graph(tuple(start), tuple(made), [[root], []], {})
    for first in made:
        behind = _behind(domain, first)
        if behind is None:
            continue
        node = Node(len(found.levels[1]) + 1, (first,), behind.machine, behind)
        root.edges.append(Edge(root, first, node, Way.TREE, hazardous=False))
        found.levels[1].append(node)
        node.edges += [
            Edge(node, second, None, Way.OPEN, hazardous=False)
            for second in made
            if second != first and _behind(behind, second) is not None
        ]
    return found


def _behind(domain: Domain, op: Op) -> Domain | None:
    after = domain.copy()
    try:
        after.follow(op)
    except ScenarioError:
        return None
    return after
