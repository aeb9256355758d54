"""KVM_SET_MSRS and KVM_SET_ONE_REG over the whole index list, and outside of it.

Each MSR is written with values at the boundaries, and read by a list and as a single register.
The MSRs that the model knows have scenarios of their own in ``msrs``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model.one_reg import REG_X86, SIZE_U64, msr_id
from kvmprobe.scenarios.catalog._starts import PLAIN, scenario
from kvmprobe.scenarios.ops.fpu import GetFpu
from kvmprobe.scenarios.ops.msrs import GetMsrs, SetMsrs
from kvmprobe.scenarios.ops.one_reg import GetOneReg, SetOneReg
from kvmprobe.scenarios.ops.vcpu_state import GetDebugregs, GetRegs
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import ScenarioStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_SLICES = 6
_VALUES = (1, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1, 0)
# IA32_TIME_STAMP_COUNTER, IA32_APIC_BASE, the first x2APIC register, IA32_EFER, FS and GS base, one
# beyond each range of MSR numbers (SDM vol.4 §2.1, AMD64 APM vol.2 appendix A).
_OUTSIDE = (
    *(0, 0x1B, 0x802, 0x2000, 0x4FFF_FFFF, 0xC000_0080, 0xC000_0100, 0xC000_0101),
    *(0xC000_2000, 0xC001_2000, 0xFFFF_FFFF),
)
_TYPES = range(6)
# asm/kvm.h: KVM_REG_GUEST_SSP, of the type KVM_X86_REG_TYPE_KVM.
_GUEST_SSP = REG_X86 | SIZE_U64 | 3 << 32
# What no MSR may change, nor a refused one.
_UNTOUCHED: tuple[Op, ...] = (GetRegs(), GetDebugregs(), GetXsave2(), GetFpu())


def _tried(index: int) -> Iterator[ScenarioStep]:
    reading = (GetMsrs((index,)), GetOneReg(msr_id(index)))
    yield ScenarioStep(reading[0])
    yield from (ScenarioStep(SetMsrs(((index, value),)), reading) for value in _VALUES)
    yield ScenarioStep(SetOneReg(msr_id(index), 1), reading[:1])


def _of(row: str, indices: Iterable[int]) -> Scenario:
    reads = tuple(map(ScenarioStep, _UNTOUCHED))
    tried = (step for index in indices for step in _tried(index))
    return scenario("fields", row, PLAIN, *reads, *tried, *reads)


def _one_reg() -> Scenario:
    """Try every type of register, with sizes and numbers beside those that exist."""
    ids = [
        REG_X86 | SIZE_U64 | kind << 32 | index for kind in _TYPES for index in (0, 1, Msr.IA32_PAT)
    ]
    ids += [
        msr_id(Msr.IA32_PAT) ^ bit for bit in (1 << 34, 1 << 47, 1 << 51, 1 << 52, 1 << 55, 1 << 61)
    ]
    steps = [ScenarioStep(SetOneReg(i, v), (GetOneReg(i),)) for i in ids for v in (0, 8, 1)]
    ssp = [SetOneReg(_GUEST_SSP, value) for value in (0, 4, 8, 1 << 47, 1 << 63, (1 << 64) - 8)]
    steps += [ScenarioStep(op, (GetOneReg(_GUEST_SSP),)) for op in ssp]
    return scenario("fields", "one-reg", PLAIN, *steps)


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return slices of the index list, as many on every host, and what is outside of it."""
    unknown = sorted(host.msrs - set(Msr))
    slices = [unknown[nr::_SLICES] for nr in range(_SLICES)]
    return (
        *(_of(f"msrs-listed-{nr}", indices) for nr, indices in enumerate(slices)),
        _of("msrs-outside", [index for index in _OUTSIDE if index not in host.msrs]),
        _one_reg(),
    )
