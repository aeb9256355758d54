"""The calls with which virtual machine monitors restore a vCPU, in their order.

The orders are files (:mod:`scenarios.presets`).  Calls that are not part of a vCPU's state here are
left out (NESTED_STATE, TSC_KHZ, clock and Hyper-V calls).  Except for the floating-point state, a
scenario restores what a GET returned on the new vCPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model import cet
from kvmprobe.model.control import Cr4
from kvmprobe.model.msr import PAT_AT_RESET
from kvmprobe.model.one_reg import GUEST_SSP
from kvmprobe.scenarios.catalog._starts import ASK, NO_AMX, SUPPORTED
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.ops._base import TriedIoctl
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.fpu import FpuContent, SetFpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, MapOut, OpenKvm
from kvmprobe.scenarios.ops.msrs import (
    GetListedMsrs,
    GetMsrs,
    GetXfd,
    RestoreListedMsrs,
    SetMsrs,
)
from kvmprobe.scenarios.ops.one_reg import GetOneReg, SetOneReg
from kvmprobe.scenarios.ops.run import RunUntilHalt, RunUntilOut
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
from kvmprobe.scenarios.presets import Preset, presets
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, Need, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import CET, FPSSE, MPX, XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_CR4 = Cr4.OSFXSR.bit | Cr4.OSXMMEXCPT.bit | Cr4.OSXSAVE.bit
_SAVES: dict[str, Op] = {
    "regs": GetRegs(),
    "sregs": GetSregs(),
    "sregs2": GetSregs2(),
    "events": GetVcpuEvents(),
    "mp-state": GetMpState(),
    "debugregs": GetDebugregs(),
    "lapic": GetLapic(),
    "listed-msrs": GetListedMsrs(),
}
# A guest that uses shadow stacks at both levels: bit 0 of the controls is SH_STK_EN.
_CET_VALUES = tuple(
    (index, 1 if index in cet.CONTROLS else 0x1000 * place)
    for place, index in enumerate(sorted(cet.MSRS), 1)
)
_SSP = 0x9000
_CET_READ: tuple[Op, ...] = (
    GetMsrs((Msr.IA32_XSS, *sorted(cet.MSRS))),
    GetOneReg(GUEST_SSP),
)
_SWEEP: tuple[Op, ...] = (
    GetVcpuEvents(),
    GetMpState(),
    GetRegs(),
    GetXsave2(),
    GetXcrs(),
    GetSregs2(),
    GetXfd(),
    GetLapic(),
    GetDebugregs(),
)
_READ: tuple[Op, ...] = (GetXsave2(), GetXcrs(), GetXfd(), GetMsrs((Msr.IA32_XSS, Msr.IA32_PAT)))


@dataclass(frozen=True, slots=True)
class Source:
    """The state of the saved guest; a conforming one has no tile data while XFD is armed."""

    name: str
    xcr0: int
    xstate_bv: int
    xfd: int = 0
    xss: int = 0
    needs: Needs = ANYWHERE

    @property
    def cpuid(self) -> tuple[Op, ...]:
        """The ops that set the guest's CPUID."""
        return SUPPORTED if Need.AMX in self.needs else NO_AMX


def _sources(host: HostProfile) -> tuple[Source, ...]:
    legacy = host.kvm_xcr0 & ~XTILE
    tiles = XFeature.XTILE_DATA.bit
    loaded = host.kvm_xcr0 & ~MPX
    return (
        Source("no-tiles", legacy, legacy & ~MPX),
        Source("tiles", host.kvm_xcr0, loaded, needs=AMX),
        Source("xfd-armed", host.kvm_xcr0, loaded & ~tiles, tiles, needs=AMX),
        Source("cet", legacy, legacy & ~MPX, xss=CET, needs=frozenset({Need.CET})),
    )


def _restore(source: Source) -> dict[str, tuple[Op, ...]]:
    pat, xss = (Msr.IA32_PAT, PAT_AT_RESET), (Msr.IA32_XSS, source.xss)
    xfd, xfd_err = (Msr.IA32_XFD, source.xfd), (Msr.IA32_XFD_ERR, 0)
    return {
        "cpuid": source.cpuid,
        "no-cpuid": (SetCpuid2(Table.EMPTY),),
        "regs": (SetRegs(),),
        "sregs": (SetSregs(_CR4),),
        "sregs2": (SetSregs2(_CR4),),
        "events": (SetVcpuEvents(),),
        "mp-state": (SetMpState(),),
        "debugregs": (SetDebugregs(),),
        "lapic": (SetLapic(),),
        "listed-msrs": (RestoreListedMsrs(source.xfd),),
        "msrs": (SetMsrs((pat, xfd, xfd_err, xss)),),
        "each-msr": tuple(SetMsrs((entry,)) for entry in (xfd, xfd_err, pat, xss)),
        "other-msrs": (SetMsrs((pat,)),),
        "xss": (SetMsrs((xss,)),),
        "xss-msrs": (SetMsrs((pat, xss)),),
        "cet-msrs": (SetMsrs((pat, xss, *_CET_VALUES)),),
        "ssp": (SetOneReg(GUEST_SSP, _SSP),),
        "xcrs": (SetXcrs(source.xcr0),),
        "xsave": (SetXsave(source.xstate_bv),),
        "xsave-all": (SetXsave(source.xstate_bv & ~XTILE),),
        "xsave-init": (SetXsave(FPSSE),),
        "fpu": (SetFpu(FpuContent.FIRST),),
        "sweep": _SWEEP,
    }


def _preset(preset: Preset, source: Source) -> Scenario:
    tokens, calls = preset.tokens, _restore(source)
    own_cpuid = tokens[0] == "cpuid"
    with_lapic = preset.irqchip
    begin: tuple[Op, ...] = (ASK,) if Need.AMX in source.needs else ()
    read = _READ + (_CET_READ if Need.CET in source.needs else ())
    begin += (OpenKvm(), CreateVm())
    begin += (CreateIrqchip(), MapOut()) if with_lapic else (MapHalt(),)
    begin += (CreateVcpu(), *(source.cpuid if own_cpuid else ()))
    begin += tuple(dict.fromkeys(_SAVES[token] for token in tokens if token in _SAVES))
    restored = [op for token in tokens[own_cpuid:] for op in calls[token]]
    run: Op = RunUntilOut() if with_lapic else RunUntilHalt()
    again = dict.fromkeys(t for t in tokens if t in _SAVES and t != "listed-msrs")
    saved_again = tuple(_SAVES[token] for token in again)
    steps = (
        *(ScenarioStep(op) for op in begin),
        *(ScenarioStep(op, read) for op in restored),
        *(ScenarioStep(op) for op in saved_again),
        ScenarioStep(run, read),
    )
    name = f"vmm.{preset.name}.{source.name}"
    return Scenario(name, preset.name, source.name, steps, source.needs)


def _states() -> tuple[Scenario, ...]:
    """Each kind of state by itself, in a VM with an interrupt controller and without."""
    chips: dict[str, tuple[Op, ...]] = {
        "no-irqchip": (),
        "irqchip": (CreateIrqchip(), CreateIrqchip()),
    }
    found: list[Scenario] = []
    for tried in registry().values():
        if not issubclass(tried, TriedIoctl):
            continue
        for chip, create in chips.items():
            # Without a local APIC there is nothing to write back.
            tries = tried.tries() if create or tried is not SetLapic else ()
            begin = (OpenKvm(), CreateVm(), *create, CreateVcpu(), CreateIrqchip())
            steps = [ScenarioStep(op) for op in begin]
            steps += [ScenarioStep(op, tried.reading + _READ[:1]) for op in tried.reading + tries]
            row = f"state-{tried.row()}"
            found.append(Scenario(f"vmm.{row}.{chip}", row, chip, tuple(steps)))
    # A second VM and vCPU, without an interrupt controller: there is no APIC to restore.
    again = (CreateVm(), CreateIrqchip(), CreateVcpu(), GetLapic(), SetLapic(), CreateVm())
    ops = (OpenKvm(), *again, CreateVcpu(), SetLapic())
    found.append(
        Scenario("vmm.state-lapic.lost", "state-lapic", "lost", tuple(map(ScenarioStep, ops)))
    )
    return tuple(found)


def restoring(preset: Preset, host: HostProfile) -> tuple[Scenario, ...]:
    """Return the scenarios that restore each of an order's states."""
    sources = {source.name: source for source in _sources(host)}
    return tuple(_preset(preset, sources[state]) for state in preset.states)


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return every preset with each of its states, then each kind of state by itself."""
    found = [scenario for preset in presets() for scenario in restoring(preset, host)]
    return (*found, *_states())
