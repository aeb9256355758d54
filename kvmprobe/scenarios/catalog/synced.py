"""KVM_RUN with each member of the run area: KVM_CAP_SYNC_REGS, ``immediate_exit`` and ``cr8``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.control import Cr4
from kvmprobe.scenarios.catalog._starts import STARTS, Start, scenario
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetXfd, SetXfd
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunSynced, RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.vcpu_state import CreateIrqchip, GetRegs, GetVcpuEvents, SetRegs
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import AMX, Scenario, ScenarioStep
from kvmprobe.xstate.features import FPSSE, MPX, XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_READ: tuple[Op, ...] = (GetRegs(), GetSregs(), GetVcpuEvents(), GetXsave2())
_ALL = 7
_FX = Cr4.OSFXSR.bit | Cr4.OSXMMEXCPT.bit
_XSAVE = _FX | Cr4.OSXSAVE.bit
_RBX = 0x1122_3344_5566_7788
_EVENT_FLAGS = (0, 1, 4, 8, 0x20, 1 << 31)
_LAPIC = Start("irqchip", (OpenKvm(), CreateVm(), CreateIrqchip(), MapHalt(), CreateVcpu()))


def _of(row: str, start: Start, *ops: Op, reading: tuple[Op, ...] = _READ) -> Scenario:
    return scenario("sync", row, start, *(ScenarioStep(op, reading) for op in ops))


def _bits(start: Start) -> tuple[Scenario, ...]:
    """Return each bit of the two bitmaps: of a vCPU whose parts are all in the run area."""
    stored = RunSynced(_ALL)
    valid = (RunSynced(1 << nr) for nr in range(64))
    dirty = (RunSynced(dirty=1 << nr, rbx=_RBX, cr4=_FX) for nr in range(64))
    both = (RunSynced(_ALL, 1 << nr | part) for nr in (3, 31, 32, 63) for part in (0, 1, 2, 4))
    return (
        _of("valid-bits", start, *valid, reading=()),
        _of("dirty-bits", start, stored, *dirty),
        _of("both", start, stored, *both, RunUntilHalt()),
    )


def _parts(start: Start) -> tuple[Scenario, ...]:
    combinations = [
        RunSynced(valid, dirty, rbx=_RBX, cr4=_FX) for dirty in range(8) for valid in (0, _ALL)
    ]
    refused = (
        RunSynced(_ALL, _ALL, rbx=1, cr4=1 << 63),
        RunSynced(_ALL, _ALL, rbx=2, cr4=Cr4.SMXE.bit),
        *(RunSynced(_ALL, _ALL, rbx=3, flags=flags) for flags in _EVENT_FLAGS),
        RunSynced(_ALL, 1, rbx=4, cr8=0x10),
        RunSynced(_ALL),
    )
    return (
        _of("parts", start, RunSynced(_ALL), *combinations),
        _of("refused", start, RunSynced(_ALL), *refused),
    )


def _between(start: Start) -> Scenario:
    """Return registers that KVM_SET_* changes while older ones are in the run area."""
    old = RunSynced(_ALL)
    changed = (GetRegs(), SetRegs(_RBX), GetSregs(), SetSregs(_FX))
    return _of("between", start, old, *changed, RunSynced(_ALL, _ALL), *changed, old)


def _entered(start: Start, host: HostProfile) -> tuple[Scenario, ...]:
    immediate = (RunSynced(_ALL, immediate_exit=value) for value in (1, 2, 0x80, 0xFF, 0))
    cr8 = (0, 1, 0xF, 0x10, 0x1F, 1 << 32, 1 << 63, (1 << 64) - 1, 0)
    loaded = (SetXsave(host.kvm_xcr0 & ~XTILE & ~MPX), SetXcrs(host.kvm_xcr0), RunSynced(_ALL))
    again = (RunSynced(_ALL, _ALL, 0, rbx=_RBX, cr4=value) for value in (_FX, _XSAVE, 0))
    return (
        _of("immediate-exit", start, *immediate, RunImmediateExit(), RunUntilHalt()),
        _of("cr8", start, *(RunSynced(_ALL, cr8=v, immediate_exit=i) for i in (1, 0) for v in cr8)),
        _of("xstate", start, *loaded, *again, reading=(GetSregs(), GetXcrs(), GetXsave2())),
    )


def _tiles(start: Start) -> Scenario:
    armed, disarmed = SetXfd(XFeature.XTILE_DATA.bit), SetXfd(0)
    ops = (SetXsave(FPSSE), RunSynced(_ALL), armed, RunSynced(_ALL, _ALL), disarmed)
    ending = (SetXsave(XTILE), RunSynced(1 << 31), RunSynced(_ALL, _ALL, 0))
    reading = (GetXfd(), GetXsave2())
    steps = (ScenarioStep(op, reading) for op in (*ops, *ending))
    return scenario("sync", "xfd", start, *steps, needs=AMX)


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the family for each start, then ``cr8`` with a local APIC."""
    no_cpuid, plain, tiles = STARTS
    values = (0, 0xF, 0x10, (1 << 64) - 1)
    with_lapic = (RunSynced(_ALL), *(RunSynced(_ALL, _ALL, cr8=v, rbx=_RBX) for v in values))
    return (
        *(s for start in (no_cpuid, plain) for s in _bits(start)),
        *(s for start in (no_cpuid, plain) for s in _parts(start)),
        *map(_between, STARTS),
        *(s for start in STARTS for s in _entered(start, host)),
        _tiles(tiles),
        _of("cr8", _LAPIC, *with_lapic),
    )
