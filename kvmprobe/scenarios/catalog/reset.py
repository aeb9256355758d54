"""A vCPU that ran is set back to its state after creation with the SET ioctls, and used again.

Virtual machine monitors reset a machine, and plug a CPU in again, on the same descriptor.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model.control import Cr4
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.catalog import _starts
from kvmprobe.scenarios.catalog._guests import OBSERVERS
from kvmprobe.scenarios.catalog.migration import ORDERS, State, looks, states
from kvmprobe.scenarios.ops.guest_migration import RestoreVcpu, SaveVcpu
from kvmprobe.scenarios.ops.msrs import GetMsrs, SetMsrs
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.vcpu_state import GetRegs, GetVcpuEvents, SetRegs, SetVcpuEvents
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import MPX, XTILE

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_ORDERS = ("qemu", "selftests", "crosvm")
_FX = Cr4.OSFXSR.bit | Cr4.OSXMMEXCPT.bit
_READ: tuple[Op, ...] = (GetXsave2(), GetXcrs(), GetSregs(), GetMsrs((Msr.IA32_XSS,)))


def _of_guest(order: str, state: State) -> Scenario:
    """Return a guest that is used in the same way again after its reset."""
    fresh = (SaveVcpu(part) for part in ORDERS[order])
    used = (*state.before, *looks(state, VCPU, read=()))
    steps = (
        *(ScenarioStep(op) for op in (*state.start.ops, *fresh, *used)),
        *(ScenarioStep(RestoreVcpu(part, VCPU), OBSERVERS) for part in ORDERS[order]),
        *(ScenarioStep(op) for op in used),
    )
    return Scenario(f"reset.{order}.{state.part}", order, state.part, steps, state.start.needs)


def _of_halt(start: _starts.Start, host: HostProfile) -> Scenario:
    """Return a vCPU whose guest only halts, three times over."""
    loaded = (SetXsave(host.kvm_xcr0 & ~XTILE & ~MPX), SetXcrs(host.kvm_xcr0), SetSregs(_FX))
    again = (SetRegs(), SetSregs(0), SetXcrs(1), SetXsave(0), SetMsrs(((Msr.IA32_XSS, 0),)))
    once = (*loaded, RunUntilHalt(), *again, SetVcpuEvents(), RunImmediateExit())
    kept = (GetRegs(), GetSregs(), GetVcpuEvents())
    steps = (ScenarioStep(op, _READ) for op in (*kept, *once, *once, *once))
    return _starts.scenario("reset", "halt", start, *steps)


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return guests for three orders of the SET ioctls, then vCPUs that halt."""
    return (
        *(_of_guest(order, state) for order, state in product(_ORDERS, states(host))),
        *(_of_halt(start, host) for start in _starts.STARTS),
    )
