"""Short sequences that determine whether a kernel has a behaviour, and stop before any crash.

A kernel has it if only the model with the behaviour predicts the probe's trace.  Their order
matters: a probe is judged with the behaviours found before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.executor import HostRegisters
from kvmprobe.abi.numbers import EventFlag, Msr
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.control import Cr4
from kvmprobe.model.guest import Vector
from kvmprobe.scenarios.calls import Relation
from kvmprobe.scenarios.catalog._guests import TILES, USE_XSAVE
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import GetCpuid2, GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.enabled_cap import EnableCap
from kvmprobe.scenarios.ops.fpu import FpuContent, SetFpu
from kvmprobe.scenarios.ops.guest_control import GuestWrmsr, GuestXsetbv
from kvmprobe.scenarios.ops.guest_nested import GuestEnterL2, GuestVmcall
from kvmprobe.scenarios.ops.guest_tiles import GuestLdtilecfg, GuestTileloadd
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import NOT_AN_MSR, GetMsrs, GetXfd, SetMsrs, SetXfd
from kvmprobe.scenarios.ops.nested import GetNestedState, SetNestedState
from kvmprobe.scenarios.ops.one_reg import GetRegList
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.process import SpawnTask
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunSynced, RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.vcpu_state import GetVcpuEvents, SetVcpuEvents
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, NESTED_VMX, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import CET, FPSSE, XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.scenarios.ops import Op

_ASK = RequestGuestPermission(XFeature.XTILE_DATA)
_VCPU: tuple[Op, ...] = (OpenKvm(), CreateVm(), CreateVcpu())
_AMX_VCPU: tuple[Op, ...] = (_ASK, *_VCPU, GetSupportedCpuid())
_WITH_TILES: tuple[Op, ...] = (*_AMX_VCPU, SetCpuid2())
_OTHER = Relation.SHARED_MM.value
_LONG_ID = 1 << 32 | 7
# SDM vol.3 table 12-10 "Memory Types That Can Be Encoded With PAT": 2 is reserved.
_NO_TYPE = 2
_RESERVED_EFER = 1 << 1
_NOT_CANONICAL = 1 << 62
_ARM = SetXfd(XFeature.XTILE_DATA.bit)
_RESTORE = SetXsave(XTILE)


def _probe(behaviour: Behaviour, needs: Needs, *ops: Op) -> Scenario:
    steps = tuple(ScenarioStep(op) for op in ops)
    return Scenario(f"probe.{behaviour.name}", "probe", behaviour.name, steps, needs)


def _probe_with(registers: HostRegisters, behaviour: Behaviour, *ops: Op) -> Scenario:
    return replace(_probe(behaviour, ANYWHERE, *ops), registers=registers)


_ALL = (
    _probe(Behaviour.KNOWS_APX, ANYWHERE, RequestGuestPermission(XFeature.APX)),
    _probe(Behaviour.VCPU_ID_TRUNCATED, ANYWHERE, OpenKvm(), CreateVm(), CreateVcpu(id=_LONG_ID)),
    _probe(
        Behaviour.DUPLICATE_VCPU_ID_LOCKS,
        ANYWHERE,
        OpenKvm(),
        CreateVm(),
        SpawnTask(_OTHER, Relation.SHARED_MM),
        CreateVcpu(),
        CreateVcpu(by=_OTHER),
        RequestGuestPermission(XFeature.XTILE_DATA, by=_OTHER),
    ),
    # ORDER: these show what supported CPUID has; with permission, XTILE_CFG is never alone.
    _probe(Behaviour.KNOWS_TMUL_FEATURES, AMX, _ASK, OpenKvm(), GetSupportedCpuid()),
    _probe(Behaviour.HIDES_XSAVE_FEATURES, ANYWHERE, _ASK, OpenKvm(), GetSupportedCpuid()),
    # ORDER: where unsupported MSRs are ignored, only XSS itself shows whether it was written.
    _probe(Behaviour.UNSUPPORTED_MSRS_IGNORED, ANYWHERE, *_VCPU, SetMsrs(((NOT_AN_MSR, 1),))),
    _probe(
        Behaviour.XSS_FOLLOWS_CPUID,
        ANYWHERE,
        *_VCPU,
        SetMsrs(((Msr.IA32_XSS, 0),)),
        SetMsrs(((Msr.IA32_XSS, CET),)),
        GetMsrs((Msr.IA32_XSS,)),
    ),
    _probe(Behaviour.VENDOR_OWNS_CR4, ANYWHERE, *_VCPU, GetSregs(), SetSregs(Cr4.OSXSAVE.bit)),
    _probe(
        Behaviour.SREGS_EFER_NOT_CHECKED,
        ANYWHERE,
        *_VCPU,
        GetSregs(),
        SetSregs(0, (("efer", _RESERVED_EFER),)),
    ),
    _probe(Behaviour.VENDOR_OWNS_PAT, ANYWHERE, *_VCPU, SetMsrs(((Msr.IA32_PAT, _NO_TYPE),))),
    _probe(Behaviour.CR4_NEEDS_CPUID, ANYWHERE, *_VCPU, GetSregs(), SetSregs(Cr4.OSXSAVE.bit)),
    _probe(
        Behaviour.EXITS_DISABLED_LATE, ANYWHERE, *_VCPU, EnableCap(Capability.X86_DISABLE_EXITS)
    ),
    _probe(Behaviour.ONE_REG_MSRS, ANYWHERE, *_VCPU, GetRegList(0)),
    _probe(Behaviour.XTILE_CFG_ADVERTISED_ALONE, AMX, OpenKvm(), GetSupportedCpuid()),
    # ORDER: the first leaves no room for more entries than there are, so nent shows nothing.
    _probe(
        Behaviour.VENDOR_REWRITES_CPUID,
        ANYWHERE,
        *_VCPU,
        SetCpuid2(Table.ONE_LEAF),
        GetCpuid2(room=1),
    ),
    _probe(
        Behaviour.SGX_XFRM_FOLLOWS_XCR0,
        ANYWHERE,
        *_VCPU,
        SetCpuid2(Table.ENCLAVES),
        GetCpuid2(room=2),
    ),
    _probe(
        Behaviour.GET_CPUID2_KEEPS_NENT, ANYWHERE, *_VCPU, SetCpuid2(Table.ONE_LEAF), GetCpuid2()
    ),
    _probe(
        Behaviour.REFUSED_NESTED_STATE_STAYS,
        NESTED_VMX,
        *(*_VCPU, GetSupportedCpuid(), SetCpuid2()),
        *(SetNestedState(vmxon=0x1000, vmcs12=0x2000), GetNestedState()),
    ),
    _probe(
        Behaviour.SYNC_UPPER_HALF_IGNORED,
        ANYWHERE,
        *(OpenKvm(), CreateVm(), MapHalt(), CreateVcpu(), RunSynced(valid=1 << 32)),
    ),
    _probe(
        Behaviour.SET_XSAVE_LIMITED_BY_CPUID,
        ANYWHERE,
        *_VCPU,
        SetCpuid2(Table.EMPTY),
        SetXsave(XFeature.YMM.bit),
    ),
    _probe(
        Behaviour.STANDARD_FORMAT,
        ANYWHERE,
        *(*_VCPU, GetSupportedCpuid(), SetCpuid2()),
        *(SetXsave(XFeature.YMM.bit), RunImmediateExit(), GetXsave2()),
    ),
    _probe(
        Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV,
        ANYWHERE,
        *_VCPU,
        SetFpu(FpuContent.FIRST),
        GetXsave2(),
    ),
    _probe(Behaviour.SET_XSAVE_KEEPS_XFD_ARMED, AMX, *_WITH_TILES, _ARM, _RESTORE, GetXsave2()),
    _probe(Behaviour.XFD_WRITE_KEEPS_XSTATE_BV, AMX, *_WITH_TILES, _RESTORE, _ARM, GetXsave2()),
    _probe(
        Behaviour.CPUID_COMPARED_UNREFRESHED,
        ANYWHERE,
        OpenKvm(),
        CreateVm(),
        MapHalt(),
        CreateVcpu(),
        GetSupportedCpuid(),
        SetCpuid2(),
        GetSregs(),
        RunUntilHalt(),
        SetSregs(Cr4.OSXSAVE.bit),
        SetCpuid2(),
    ),
    # S_CET is not in XSTATE: KVM writes it to the VMCS, and no WRMSR faults in the host.
    _probe(
        Behaviour.CET_BASE_NOT_CHECKED,
        ANYWHERE,
        *_VCPU,
        GetSupportedCpuid(),
        SetCpuid2(),
        SetMsrs(((Msr.IA32_S_CET, _NOT_CANONICAL),)),
    ),
    _probe(
        Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE,
        AMX,
        *_AMX_VCPU,
        SetXsave(FPSSE),
        SetCpuid2(),
        GetXsave2(),
    ),
    # The end makes KVM intercept #NM again, and clear the MSR, which others would read.
    _probe(
        Behaviour.NM_OF_L1_MISSED,
        TILES.needs | NESTED_VMX,
        *(*TILES.ops, USE_XSAVE, GuestXsetbv(FPSSE | XTILE), GuestLdtilecfg()),
        *(GuestEnterL2(), GuestWrmsr(Msr.IA32_XFD, XFeature.XTILE_DATA.bit), GuestVmcall()),
        *(GuestTileloadd(), GetXfd(), _ARM, GuestTileloadd()),
    ),
    _probe(
        Behaviour.EVENTS_SET_BEFORE_CHECK,
        ANYWHERE,
        *_VCPU,
        GetVcpuEvents(),
        SetVcpuEvents(EventFlag.TRIPLE_FAULT, (("exception_nr", Vector.GP),)),
        GetVcpuEvents(),
    ),
    _probe_with(
        HostRegisters.PKRU_INIT,
        Behaviour.PKRU_BIT_OF_CALLER,
        *_VCPU,
        GetSupportedCpuid(),
        SetCpuid2(Table.NO_AMX),
        SetXsave(XFeature.PKRU.bit),
        RunImmediateExit(),
        GetXsave2(),
    ),
)
PROBES: dict[Behaviour, Scenario] = {Behaviour[probe.column]: probe for probe in _ALL}
