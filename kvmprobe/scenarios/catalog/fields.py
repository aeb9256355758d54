"""Every field of SREGS, REGS, VCPU_EVENTS, DEBUGREGS and MP_STATE, at and beside its boundaries.

A scenario changes one member of one structure, or one segment, again and again, and reads the
structure by each ioctl that shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.scenarios.catalog import fields_entry, fields_msrs
from kvmprobe.scenarios.catalog._starts import ASK, NO_CPUID, PLAIN, VCPU, Start, scenario
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.op_fields import Members
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.fpu import FpuContent, GetFpu, SetFpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.sregs import GetSregs, GetSregs2, SetSregs, SetSregs2
from kvmprobe.scenarios.ops.vcpu_state import (
    CreateIrqchip,
    GetDebugregs,
    GetMpState,
    GetRegs,
    GetVcpuEvents,
    SetDebugregs,
    SetMpState,
    SetRegs,
    SetVcpuEvents,
)
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave, GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import AMX, ScenarioStep
from kvmprobe.xstate.features import FPSSE, MPX, XTILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.abi.layout import Layout
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

FAMILY = "fields"
_ASKED = Start("tiles", (ASK, *VCPU), AMX)
LAPIC = Start("lapic", (OpenKvm(), CreateVm(), CreateIrqchip(), CreateVcpu()))
# Both views of SREGS, and what they must not change.
_READS: tuple[Op, ...] = (GetSregs(), GetSregs2(), GetRegs(), GetDebugregs(), GetXsave2(), GetFpu())
# Members of which each bit has a meaning of its own.
_BITWISE = frozenset({"cr0", "cr3", "efer", "apic_base"})
_ARRAYS = ("interrupt_bitmap", "pdptrs", "db")
_STATES = (*range(12), 1 << 31, (1 << 32) - 1, 0)


def boundaries(largest: int) -> tuple[int, ...]:
    """Return values at and beside the boundaries of an unsigned number, in ascending order."""
    inner = {1 << nr for nr in (4, 31, 32, 47, 63) if 1 << nr <= largest}
    return tuple(sorted({0, 1, largest // 2, largest, *inner}))


def values(name: str, largest: int) -> tuple[int, ...]:
    """Return the values for a member: every bit alone where each has a meaning of its own."""
    if name in _BITWISE:
        return (*(1 << nr for nr in range(largest.bit_length())), largest, 0)
    return boundaries(largest)


def groups(layout: Layout) -> dict[str, list[str]]:
    """Return the names of a structure's numbers by the member that they belong to."""
    found: dict[str, list[str]] = {}
    for name in layout.numbers:
        whole = next((m for m in layout.members if name == m or name.startswith(f"{m}_")), "")
        array = next((a for a in _ARRAYS if name.rstrip("0123456789") == a), "")
        found.setdefault(whole or array or name, []).append(name)
    return found


def _steps(ops: Sequence[Op], reading: tuple[Op, ...] = ()) -> tuple[ScenarioStep, ...]:
    return tuple(ScenarioStep(op, reading) for op in ops)


def _sregs(start: Start) -> Iterator[Scenario]:
    for made, layout, view in (
        (SetSregs, ioctls.KVM_SREGS, GetSregs()),
        (SetSregs2, ioctls.KVM_SREGS2, GetSregs2()),
    ):
        widths = Members(layout).widths
        for group, names in groups(layout).items():
            if group == "cr4":
                continue
            row = f"{made.name.removeprefix('set-')}-{group.replace('_', '-')}"
            every = (
                (name, value) for name in names for value in values(name, widths[name].largest)
            )
            sets = _steps([made(0, (pair,)) for pair in every], (view,))
            yield scenario(FAMILY, row, start, *_steps(_READS), *sets, *_steps(_READS))


def _regs() -> Iterator[Scenario]:
    widths = Members(ioctls.KVM_REGS, "rbx").widths
    ops = [SetRegs(members=((n, v),)) for n, k in widths.items() for v in boundaries(k.largest)]
    bits = [SetRegs(members=(("rflags", 1 << nr),)) for nr in range(64)]
    yield scenario(FAMILY, "regs", PLAIN, *_steps((GetRegs(), *ops, SetRegs()), (GetRegs(),)))
    rflags = (GetRegs(), *bits, SetRegs())
    yield scenario(FAMILY, "regs-rflags", PLAIN, *_steps(rflags, (GetRegs(), GetSregs())))


def _debugregs() -> Scenario:
    names = ("db1", "db2", "db3")
    most = (1 << 64) - 1
    ops = [SetDebugregs(members=((name, v),)) for name in names for v in boundaries(most)]
    ops += [SetDebugregs(db0=value) for value in boundaries(most)]
    ops += [SetDebugregs(flags=1 << nr) for nr in range(64)]
    ops += [SetDebugregs(dr6=1 << nr) for nr in range(64)]
    ops += [SetDebugregs(dr7=1 << nr) for nr in range(64)]
    reading = (GetDebugregs(),)
    return scenario(FAMILY, "debugregs", PLAIN, *_steps((GetDebugregs(), *ops), reading))


def _events(start: Start) -> Iterator[Scenario]:
    reading: tuple[Op, ...] = (GetVcpuEvents(), GetSregs())
    layout = ioctls.KVM_VCPU_EVENTS
    widths = Members(layout).widths
    for group, names in groups(layout).items():
        if group == "flags":
            ops = [SetVcpuEvents(1 << nr) for nr in range(32)]
        else:
            every = [(n, v) for n in names for v in boundaries(widths[n].largest)]
            ops = [SetVcpuEvents(members=(pair,)) for pair in every]
        row = f"events-{group.replace('_', '-')}"
        yield scenario(FAMILY, row, start, *_steps((GetVcpuEvents(), *ops), reading))


def _mp_state(start: Start) -> Scenario:
    ops = (GetMpState(), *map(SetMpState, _STATES))
    return scenario(FAMILY, "mp-state", start, *_steps(ops, (GetMpState(),)))


def _lapic() -> Scenario:
    """Change what an interrupt controller in the kernel has a part in."""
    widths = Members(ioctls.KVM_SREGS).widths
    pairs = [(n, v) for n in ("cr8", "apic_base") for v in values(n, widths[n].largest)]
    sets = _steps([SetSregs(0, (pair,)) for pair in pairs], (GetSregs(),))
    return scenario(FAMILY, "sregs", LAPIC, *_steps(_READS), *sets, *_steps(_READS))


def _sizes(host: HostProfile) -> Scenario:
    """Set and get each form of XSTATE before and after the table that enlarges it, and after it."""
    images = (SetXsave(FPSSE), SetXsave(host.kvm_xcr0 & ~MPX), SetXsave(0))
    tables = (SetCpuid2(Table.NO_AMX), SetCpuid2(Table.FULL), SetCpuid2(Table.NO_AMX))
    reading = (GetXsave(), GetXsave2(), GetFpu(), GetXcrs())
    ops = (*images, *(op for table in tables for op in (table, *images)))
    return scenario(FAMILY, "xsave-sizes", _ASKED, *_steps(ops, reading))


def _fpu() -> Scenario:
    reading = (GetFpu(), GetXsave2())
    return scenario(FAMILY, "fpu", PLAIN, *_steps([SetFpu(given) for given in FpuContent], reading))


def _xcrs(host: HostProfile) -> Scenario:
    """Write every bit of XCR0 alone, with x87 and with what is supported."""
    bits = [1 << nr for nr in range(64)]
    xcr0s = [v for bit in bits for v in (bit, bit | 1, bit ^ host.kvm_xcr0 & ~XTILE)]
    ops = [SetXcrs(value) for value in xcr0s]
    return scenario(FAMILY, "xcrs", PLAIN, *_steps(ops, (GetXcrs(), GetXsave2())))


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the scenarios of each structure."""
    return (
        *_sregs(PLAIN),
        _lapic(),
        *_regs(),
        _debugregs(),
        *_events(PLAIN),
        *map(_mp_state, (NO_CPUID, LAPIC)),
        _fpu(),
        _xcrs(host),
        _sizes(host),
        *fields_msrs.scenarios(host),
        *fields_entry.scenarios(),
    )
