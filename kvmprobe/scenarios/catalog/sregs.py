"""Which bits of CR4 KVM_SET_SREGS accepts before and after KVM_SET_CPUID2, and what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.control import Cr4
from kvmprobe.scenarios.catalog._starts import (
    EMPTY,
    NO_AMX,
    NO_CET,
    NO_CPUID,
    NO_IBT,
    NO_PKU,
    NO_SHSTK,
    NO_XSAVE,
    PLAIN,
    STARTS,
    Start,
    scenario,
)
from kvmprobe.scenarios.ops.cpuid import GetCpuid2
from kvmprobe.scenarios.ops.msrs import GetXfd
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, GetSregs2, SetSregs, SetSregs2
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Need, ScenarioStep
from kvmprobe.xstate.features import FPSSE, MPX, XTILE

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_FX = Cr4.OSFXSR.bit | Cr4.OSXMMEXCPT.bit
_XSAVE = _FX | Cr4.OSXSAVE.bit
_FULL = _XSAVE | Cr4.PAE.bit | Cr4.PGE.bit | Cr4.SMEP.bit | Cr4.SMAP.bit | Cr4.PKE.bit
_SETS = (_FX, _XSAVE, _FULL, _XSAVE | Cr4.SMXE.bit, _FULL | 1 << 63, _FX | 1 << 15, _FULL, 0)
_READ = (GetSregs(),)
_OTHERS = (GetSregs(), GetXcrs(), GetXfd(), GetXsave2())


def _steps(*ops: Op, reading: tuple[Op, ...] = _READ) -> tuple[ScenarioStep, ...]:
    return tuple(ScenarioStep(op, reading) for op in ops)


def _bits(start: Start) -> Scenario:
    bits = (SetSregs(1 << nr) for nr in range(64))
    return scenario("sregs", "bits", start, *_steps(GetSregs(), *bits))


def _of(start: Start, host: HostProfile) -> tuple[Scenario, ...]:
    sets = (op(value) for value in _SETS for op in (SetSregs, SetSregs2))
    both: tuple[Op, ...] = (GetSregs(), GetSregs2())
    loaded = (GetSregs(), SetXsave(host.kvm_xcr0 & ~XTILE & ~MPX), SetXcrs(host.kvm_xcr0))
    ops = (*loaded, SetSregs(_XSAVE), SetSregs(0), SetSregs(_XSAVE | 1 << 63), SetSregs(_XSAVE))
    return (
        _bits(start),
        scenario("sregs", "sets", start, *_steps(*both, *sets, reading=(*both, GetCpuid2()))),
        scenario("sregs", "xstate", start, *_steps(*ops, RunUntilHalt(), reading=_OTHERS)),
    )


def _cet_without_wp() -> Scenario:
    """Enter with CR4.CET and without CR0.WP, which KVM_SET_SREGS accepts; then without CR4.CET."""
    fails = (GetSregs(), SetXsave(FPSSE), SetSregs(Cr4.CET.bit), RunUntilHalt())
    ops = (*fails, SetSregs(_XSAVE), RunUntilHalt())
    needs = frozenset({Need.CET})
    return scenario("sregs", "cet-without-wp", PLAIN, *_steps(*ops, reading=_OTHERS), needs=needs)


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the family for a guest without CPUID, with CPUID, with tiles; and CR4 before CPUID."""
    early = (GetSregs(), SetSregs(_XSAVE), *NO_AMX, SetSregs(_XSAVE), SetSregs(_FX), *NO_AMX)
    return (
        *(s for start in STARTS for s in _of(start, host)),
        *(_bits(start) for start in (EMPTY, NO_XSAVE, NO_PKU, NO_SHSTK, NO_IBT, NO_CET)),
        scenario("sregs", "before-cpuid", NO_CPUID, *_steps(*early)),
        scenario("sregs", "run", PLAIN, *_steps(GetSregs(), SetSregs(_XSAVE), RunUntilHalt())),
        _cet_without_wp(),
    )
