"""What SET accepts GET returns; what is refused, or about other state, changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.checkers.checker import at
from kvmprobe.checkers.normal_registers import kept
from kvmprobe.checkers.observed import READS, refused
from kvmprobe.checkers.registers import GET_OF, GETS, members, whole
from kvmprobe.results.claim import Claim
from kvmprobe.results.record import Statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState
    from kvmprobe.results.record import Finding

_PUT_OF = {get: put for put, get in GET_OF.items()}


@at(*GETS)
def what_is_accepted_returns(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that a GET returns each member that the last SET accepted (INV-19)."""
    vcpu = state.vcpu(event)
    if vcpu is None or not whole(event.name, event.output):
        return
    given = vcpu.registers.accepted.get(event.name)
    if given is None:
        return
    put, read = _PUT_OF[event.name], members(event.name, event.output)
    details = tuple(
        _member(name, value & bits, read[name] & bits)
        for name, value, bits in kept(event.name, members(put, given))
        if (read[name] ^ value) & bits
    )
    if details:
        call = {"call": event.name, "set": put}
        yield event.finding("round-trip", "INV-19", Claim.NOT_KEPT, call, details=details)


# SREGS and FPU are among the reads of `stability.steadiness`.
@at(*sorted(GETS - READS))
def what_is_read_stays(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that a structure reads as before, if every call since was refused or is about others.

    INV-19, INV-38.
    """
    vcpu = state.vcpu(event)
    if vcpu is None or not whole(event.name, event.output):
        return
    before = vcpu.registers.read.get(event.name)
    if before is None or before == event.output:
        return
    since = vcpu.registers.since[event.name]
    failed = tuple(dict.fromkeys(e.op for e in since if refused(e)))
    others = tuple(dict.fromkeys(e.op for e in since if not refused(e) and e.name not in GETS))
    details = tuple(_changed(members(event.name, before), members(event.name, event.output)))
    if not details:
        return
    if others:
        checker, invariant, claim = "isolation", "INV-38", Claim.CHANGED_BY_OTHERS
    elif failed:
        checker, invariant, claim = "failing-call", "INV-19", Claim.CHANGED_BY_REFUSED
    else:
        checker, invariant, claim = "steady-read", "INV-19", Claim.UNSTEADY
    call = {"call": event.name}
    ops = others or failed
    yield event.finding(checker, invariant, claim, call, ops=ops, details=details)


def _changed(before: Mapping[str, int], now: Mapping[str, int]) -> Iterator[Statement]:
    return (_member(name, before[name], now[name]) for name in now if before[name] != now[name])


def _member(name: str, expected: int, read: int) -> Statement:
    values: dict[str, int | str] = {"member": name, "expected": expected, "read": read}
    return Statement(Claim.MEMBER, values)
