"""Two views of the same registers agree: SREGS and SREGS2, single registers and lists of MSRs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.checkers.checker import at
from kvmprobe.checkers.normal_msrs import MOVING
from kvmprobe.checkers.registers import MSR_READS, members, msr_of, registers_read, whole
from kvmprobe.results.claim import Claim
from kvmprobe.results.record import Statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState
    from kvmprobe.results.record import Finding

_VIEWS = frozenset({ioctls.GET_SREGS.name, ioctls.GET_SREGS2.name})
_SHARED = ioctls.KVM_SREGS.offset("interrupt_bitmap")


@at(*_VIEWS)
def sregs_and_sregs2(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that KVM_GET_SREGS and KVM_GET_SREGS2 agree in all that both have."""
    vcpu = state.vcpu(event)
    if vcpu is None or not whole(event.name, event.output):
        return
    (other,) = _VIEWS - {event.name}
    before = vcpu.registers.read.get(other)
    if before is None or before[:_SHARED] == event.output[:_SHARED]:
        return
    first, second = members(other, before), members(event.name, event.output)
    details = tuple(
        Statement(Claim.MEMBER, {"member": name, "expected": first[name], "read": second[name]})
        for name in first
        if name in second and first[name] != second[name]
    )
    yield event.finding("two-views", "INV-34", Claim.SREGS_AND_SREGS2, details=details)


@at(*MSR_READS)
def list_and_one_reg(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that KVM_GET_MSRS and KVM_GET_ONE_REG return the same value of an MSR."""
    vcpu = state.vcpu(event)
    if vcpu is None:
        return
    before = vcpu.registers.values
    for register_id, value in registers_read(event).items():
        index = msr_of(register_id)
        if index in MOVING or before.get(register_id, value) == value:
            continue
        values = {"register": register_id, "first": before[register_id], "second": value}
        yield event.finding("two-views", "INV-26", Claim.TWO_VALUES, values)
