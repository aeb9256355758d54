"""The calls with which virtual machine monitors restore a vCPU, in their order.

Each order names its source.  Calls that are not part of a vCPU's state here are left out
(NESTED_STATE, TSC_KHZ, clock and Hyper-V calls).  Except for the floating-point state, a scenario
restores what a GET returned on the new vCPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model import cet
from kvmprobe.model.control import Cr4
from kvmprobe.model.guest_migration import Part
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
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, Need, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import CET, FPSSE, MPX, XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_CR4 = Cr4.OSFXSR.bit | Cr4.OSXMMEXCPT.bit | Cr4.OSXSAVE.bit
_KVM_TOOL = "kvmtool: x86/kvm-cpu.c"
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
_READ: tuple[Op, ...] = (GetXsave2(), GetXcrs(), GetXfd(), GetMsrs((Msr.IA32_XSS, Msr.IA32_PAT)))


_PARTS = {
    "sregs": Part.SREGS,
    "sregs2": Part.SREGS,
    "regs": Part.REGS,
    "xsave": Part.XSAVE,
    "xcrs": Part.XCRS,
    "msrs": Part.MSRS,
    "listed-msrs": Part.MSRS,
    "each-msr": Part.MSRS,
    "events": Part.EVENTS,
    "debugregs": Part.DEBUGREGS,
}
# Lists of MSRs that leave out IA32_XFD.
_LISTS = {
    "other-msrs": Part.OTHER_MSRS,
    "xss-msrs": Part.XSS_MSRS,
    "cet-msrs": Part.CET_MSRS,
}


@dataclass(frozen=True, slots=True)
class Preset:
    """One program's order.

    :ivar calls: the parts that it restores, in order
    :ivar source: where the program has the order
    :ivar moved_as: the order's name in the migration family, if it moves a guest in this order
    """

    name: str
    calls: str
    source: str
    moved_as: str = ""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Each call by itself."""
        return tuple(self.calls.split())

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of a vCPU in this order, followed by the parts that it leaves out."""
        parts = [_PARTS[token] for token in self.tokens if token in _PARTS]
        return tuple(dict.fromkeys((*parts, *_PARTS.values())))

    @property
    def parts_with_own_msrs(self) -> tuple[Part, ...]:
        """The same for an order with its own list of MSRs."""
        places = {**_PARTS, **_LISTS}
        parts = [places[token] for token in self.tokens if token in places]
        others = [part for part in _PARTS.values() if part is not Part.MSRS]
        return tuple(dict.fromkeys((*parts, *others)))

    @property
    def restores_ssp(self) -> bool:
        """True if it restores the guest's SSP."""
        return "ssp" in self.tokens

    @property
    def irqchip(self) -> bool:
        """True if the interrupt controller is in the kernel; some MSRs need it."""
        return not {"lapic", "listed-msrs"}.isdisjoint(self.tokens)


PRESETS = (
    Preset(
        "kselftest",
        "cpuid sregs listed-msrs xcrs xsave events mp-state debugregs regs",
        "linux: tools/testing/selftests/kvm/lib/x86/processor.c: vcpu_load_state",
        moved_as="selftests",
    ),
    Preset(
        "kselftest-pre517",
        "cpuid xsave xcrs sregs listed-msrs events mp-state debugregs regs",
        "linux: the same before 551447cfa5dc",
    ),
    Preset(
        "kselftest-xsave-only",
        "xsave xsave-all no-cpuid xsave xsave-all",
        "linux: tools/testing/selftests/kvm/x86/state_test.c",
    ),
    Preset(
        "qemu-full",
        "cpuid sregs2 regs xsave xcrs msrs events mp-state debugregs lapic",
        "qemu: target/i386/kvm/kvm.c: kvm_arch_put_registers",
        moved_as="qemu",
    ),
    Preset(
        "qemu-runtime",
        "cpuid sregs regs xsave xcrs other-msrs events debugregs",
        "qemu: the same, level RUNTIME: no XFD",
    ),
    Preset(
        "firecracker",
        "cpuid mp-state regs sregs xsave xcrs debugregs lapic other-msrs events",
        "firecracker: src/vmm/src/arch/x86_64/vcpu.rs: restore_state; its list of MSRs has no XFD",
    ),
    Preset(
        "cloud-hypervisor",
        "cpuid mp-state regs sregs xsave xcrs lapic fpu msrs events",
        "cloud-hypervisor: hypervisor/src/kvm/mod.rs: set_state",
    ),
    Preset(
        "crosvm",
        "cpuid regs sregs debugregs xcrs each-msr xsave events mp-state lapic",
        "crosvm: hypervisor/src/x86_64.rs: VcpuX86_64::restore",
        moved_as="crosvm",
    ),
    Preset(
        "libkrun",
        "cpuid mp-state regs sregs xsave xcrs debugregs lapic msrs events",
        "libkrun: src/vmm/src/linux/vstate.rs; vmm-reference has the same",
    ),
    Preset(
        "stratovirt",
        "cpuid mp-state sregs regs xsave xcrs debugregs lapic msrs events",
        "stratovirt: hypervisor/src/kvm/x86_64/mod.rs: arch_put_register",
    ),
    Preset(
        "dragonball",
        "cpuid msrs sregs xsave xcrs debugregs lapic mp-state regs events",
        "kata: src/dragonball/src/vcpu/x86_64.rs: restore_state",
        moved_as="dragonball",
    ),
    Preset(
        "openvmm",
        "cpuid regs sregs mp-state events xsave lapic xcrs xss other-msrs debugregs",
        "openvmm: vmm_core/virt/src/x86/vp.rs",
    ),
    Preset(
        "hyperlight",
        "cpuid regs debugregs xsave-init xcrs sregs other-msrs",
        "hyperlight: hyperlight_host/.../hyperlight_vm/x86_64.rs: reset_vcpu",
    ),
    Preset("kvmtool", "cpuid sregs regs fpu other-msrs", _KVM_TOOL),
    Preset(
        "tglx-2021",
        "cpuid sregs msrs xcrs xsave events mp-state debugregs regs",
        "mail 87zgp3ry8i.ffs@tglx of 2021-12-14",
    ),
    # The two orders of XSAVE, XCRS and XFD that no program uses.
    Preset("perm-xfc", "cpuid sregs regs xsave msrs xcrs events", "nobody", "nobody-xfc"),
    Preset("perm-cxf", "cpuid sregs regs xcrs xsave msrs events", "nobody", "nobody-cxf"),
)
FIRECRACKER = next(preset for preset in PRESETS if preset.name == "firecracker")
# The orders that restore CET state, each with more of it than the one before.
CET_PRESETS = (
    FIRECRACKER,
    Preset(
        "firecracker-1.16.1",
        FIRECRACKER.calls.replace("other-msrs", "xss-msrs"),
        "firecracker: pull request 5972: its list of MSRs has IA32_XSS as well",
    ),
    Preset(
        "firecracker-cet",
        FIRECRACKER.calls.replace("other-msrs", "cet-msrs"),
        "superfly/firecracker: pull request 10: and the MSRs of CET",
    ),
    Preset(
        "qemu-cet",
        "cpuid sregs2 regs xsave xcrs cet-msrs ssp events mp-state debugregs lapic",
        "qemu-devel, 2025-12-11: i386/kvm: Add save/restore support for KVM_REG_GUEST_SSP",
    ),
)


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
    )


def _cet(host: HostProfile) -> Source:
    legacy = host.kvm_xcr0 & ~XTILE
    return Source("cet", legacy, legacy & ~MPX, xss=CET, needs=frozenset({Need.CET}))


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
    begin += tuple(_SAVES[token] for token in tokens if token in _SAVES)
    restored = [op for token in tokens[own_cpuid:] for op in calls[token]]
    run: Op = RunUntilOut() if with_lapic else RunUntilHalt()
    saved_again = tuple(_SAVES[t] for t in tokens if t in _SAVES and t != "listed-msrs")
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


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return every preset for every source, then each kind of state by itself, then CET state."""
    presets = (_preset(preset, source) for preset in PRESETS for source in _sources(host))
    return (*presets, *_states(), *(_preset(preset, _cet(host)) for preset in CET_PRESETS))
