"""INIT of a vCPU: what it clears and keeps, before and after the guest ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model.control import Cr4
from kvmprobe.scenarios.catalog._starts import ASK, NO_AMX, SUPPORTED, Start
from kvmprobe.scenarios.ops.cpuid import GetCpuid2
from kvmprobe.scenarios.ops.init_signal import LatchInit
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapOut, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetMsrs, GetXfd, SetMsrs, SetXfd
from kvmprobe.scenarios.ops.run import RunUntilOut
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.vcpu_state import (
    CreateIrqchip,
    GetDebugregs,
    GetLapic,
    GetMpState,
    GetRegs,
    GetVcpuEvents,
    SetDebugregs,
    SetRegs,
)
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, Scenario, ScenarioStep
from kvmprobe.xstate.features import FPSSE, MPX, XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_BEGIN: tuple[Op, ...] = (OpenKvm(), CreateVm(), CreateIrqchip(), MapOut(), CreateVcpu())
NO_CPUID = Start("no-cpuid", _BEGIN)
PLAIN = Start("cpuid", (*_BEGIN, *NO_AMX))
TILES = Start("tiles", (ASK, *_BEGIN, *SUPPORTED), AMX)
_FX = Cr4.OSFXSR.bit | Cr4.OSXMMEXCPT.bit
_XSAVE = _FX | Cr4.OSXSAVE.bit
_STATE: tuple[Op, ...] = (GetXsave2(), GetXcrs(), GetXfd(), GetMsrs((Msr.IA32_XSS, Msr.IA32_PAT)))
_REGISTERS: tuple[Op, ...] = (GetRegs(), GetSregs(), GetVcpuEvents(), GetDebugregs(), GetLapic())
_TAKE = ScenarioStep(GetMpState(), (*_REGISTERS, *_STATE))
_INIT = (ScenarioStep(LatchInit()), _TAKE)
_RUN = ScenarioStep(RunUntilOut(), _STATE)
_RUN_INIT = (ScenarioStep(LatchInit()), _RUN)


def _scenario(row: str, start: Start, *steps: ScenarioStep) -> Scenario:
    whole = (*start.steps, *steps)
    return Scenario(f"init.{row}.{start.part}", row, start.part, whole, start.needs or ANYWHERE)


def _steps(*ops: Op) -> tuple[ScenarioStep, ...]:
    return tuple(map(ScenarioStep, ops))


def _of(start: Start, host: HostProfile) -> tuple[Scenario, ...]:
    tiles = start is TILES
    components = host.kvm_xcr0 & ~MPX if tiles else host.kvm_xcr0 & ~XTILE & ~MPX
    loaded = _steps(SetXsave(components), SetXcrs(host.kvm_xcr0 if tiles else 1))
    pat = SetMsrs(((Msr.IA32_PAT, 0x0007_0406_0007_0406),))
    registers = _steps(
        *(GetRegs(), SetRegs(0x1122), GetSregs(), SetSregs(_FX), GetDebugregs(), SetDebugregs(1))
    )
    return (
        _scenario("fresh", start, *_INIT, *_INIT, _RUN),
        _scenario("xstate", start, *loaded, *_INIT, _RUN, *_RUN_INIT),
        _scenario("registers", start, *registers, *_steps(pat), *_INIT, *_INIT),
        _scenario("ran", start, *loaded, _RUN, *_RUN_INIT, *_RUN_INIT),
        _scenario("then-xsave", start, *_RUN_INIT, *_steps(SetXsave(FPSSE), *_STATE), *_RUN_INIT),
    )


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the family for a guest without CPUID, with CPUID, with tiles."""
    osxsave = _steps(GetSregs(), SetSregs(_XSAVE), GetCpuid2(), LatchInit())
    armed = _steps(SetXfd(XFeature.XTILE_DATA.bit), SetXsave(FPSSE))
    return (
        *(s for start in (NO_CPUID, PLAIN, TILES) for s in _of(start, host)),
        _scenario("osxsave", PLAIN, *osxsave, ScenarioStep(GetMpState(), (GetCpuid2(),))),
        _scenario("xfd", TILES, *armed, *_INIT, _RUN, *_RUN_INIT),
    )
