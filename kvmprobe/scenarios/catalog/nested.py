"""Each member of struct kvm_nested_state at its limits, what a refused state leaves; L2."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.model.nested import HEAD_SIZE, VMCS_SIZE
from kvmprobe.scenarios.catalog import nested_guest
from kvmprobe.scenarios.catalog._starts import EMPTY, NO_CPUID, PLAIN, Start, scenario
from kvmprobe.scenarios.ops.nested import GetNestedState, SetNestedState
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import NESTED_VMX, Scenario, ScenarioStep
from kvmprobe.xstate.features import FPSSE

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_READ: tuple[Op, ...] = (GetNestedState(), GetXsave2())
_SIZES = (0, 1, 8, HEAD_SIZE - 1, HEAD_SIZE, HEAD_SIZE + 1, HEAD_SIZE + VMCS_SIZE)
_ADDRESSES = (0, 1, 0x1000, 0x1800, 1 << 52, 1 << 63, (1 << 64) - 0x1000)
_ON, _OFF = SetNestedState(vmxon=0x1000), SetNestedState()


def _of(row: str, start: Start, *ops: Op) -> Scenario:
    return scenario(
        "nested", row, start, *(ScenarioStep(op, _READ) for op in ops), needs=NESTED_VMX
    )


def _members(base: SetNestedState) -> tuple[Op, ...]:
    """Return each member with the values at its limits, others as in ``base``."""
    return (
        *(replace(base, flags=1 << nr) for nr in range(16)),
        *(replace(base, flags=value) for value in (3, 0x109, 0xFFFF)),
        *(replace(base, format=value) for value in (1, 2, 0xFFFF)),
        *(replace(base, smm_flags=value) for value in (1, 2, 3, 4, 0xFFFF)),
        *(replace(base, vmx_flags=value) for value in (1, 2, 1 << 31, U32_MAX)),
        replace(base, deadline=(1 << 64) - 1),
        *(replace(base, vmcs12=value) for value in _ADDRESSES),
        *(replace(base, size=value) for value in (0, 8, HEAD_SIZE - 1, HEAD_SIZE + 1)),
    )


def _family(start: Start) -> tuple[Scenario, ...]:
    rooms = (GetNestedState(size) for size in _SIZES)
    sizes = (replace(base, size=s) for base in (_OFF, _ON) for s in (*_SIZES[:-1], U32_MAX))
    return (
        scenario("nested", "get", start, *map(ScenarioStep, rooms), needs=NESTED_VMX),
        _of("sizes", start, *sizes),
        _of("outside", start, *_members(_OFF)),
        _of("within", start, _ON, *_members(_ON), _OFF),
        _of("vmxon", start, *(SetNestedState(vmxon=value) for value in _ADDRESSES), _OFF),
    )


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the family: guests without CPUID, with CPUID, with an empty table; nested guests."""
    late = replace(_ON, vmcs12=0x2000)
    other = replace(late, vmxon=0x3000)
    loaded = SetXsave(FPSSE)
    return (
        *(s for start in (NO_CPUID, PLAIN, EMPTY) for s in _family(start)),
        _of("refused", PLAIN, loaded, late, _OFF, _ON, other, late, loaded, _OFF),
        _of("refused-large", PLAIN, replace(_ON, size=HEAD_SIZE + VMCS_SIZE), _OFF),
        *nested_guest.scenarios(host),
    )
