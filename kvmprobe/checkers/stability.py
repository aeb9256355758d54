"""A refused call changes nothing, and an accepted call changes only its own state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.checkers.checker import at
from kvmprobe.checkers.event import cpuid_of, msrs, written_image
from kvmprobe.checkers.observed import (
    FPU_MSRS,
    IMAGES,
    READS,
    SYSTEM_READS,
    read_may_load_fpu,
    refused,
)
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import ResultDiffers, ValuesDiffer, image_differs
from kvmprobe.results.record import ReadingsDiffer, Statement
from kvmprobe.xstate.cpuid import LEAF_EXTENDED_FEATURES, LEAF_TILE, LEAF_TMUL, LEAF_XSTATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState, Reading
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import Finding
    from kvmprobe.scenarios.ops import Op

# Other leaves depend on the processor that runs the call, as those with the APIC id.
_STEADY_LEAVES = {LEAF_EXTENDED_FEATURES, LEAF_XSTATE, LEAF_TILE, LEAF_TMUL}


@at(*READS, *SYSTEM_READS)
def steadiness(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that a repeated read returns the same if nothing may have changed in between.

    The calls in between were refused (INV-19), or are about other state (INV-32, INV-38).
    """
    before = _before(event, state)
    if before is None or event.result < 0:
        return
    now = event.output or event.result.to_bytes(8, "little")
    if event.name in IMAGES:
        now = written_image(now, state.host)
    if _comparable(event, before.value) == _comparable(event, now):
        return
    failed = tuple(dict.fromkeys(e.op for e in before.since if refused(e)))
    others = tuple(dict.fromkeys(e.op for e in before.since if not refused(e)))
    if others:
        checker, invariant, claim = "isolation", "INV-38", Claim.CHANGED_BY_OTHERS
    elif failed:
        checker, invariant, claim = "failing-call", "INV-19", Claim.CHANGED_BY_REFUSED
    else:
        checker, invariant, claim = "steady-read", "INV-19", Claim.UNSTEADY
    details = _details(event, before.value, now, state)
    ops = others or failed
    yield event.finding(checker, invariant, claim, {"call": event.name}, ops=ops, details=details)


def _before(event: Event, state: ObservedState) -> Reading | None:
    if event.name in SYSTEM_READS:
        before = state.system.get(event.made)
        return before if before and before.epoch == state.permission_epoch else None
    vcpu = state.vcpu(event)
    if vcpu is None or read_may_load_fpu(event):
        return None
    return vcpu.readings.get(event.made)


def _comparable(event: Event, output: bytes) -> object:
    match event.name:
        case "KVM_GET_SUPPORTED_CPUID":
            table = cpuid_of(output)
            return table and [e for e in table.entries if e.leaf in _STEADY_LEAVES]
        case "KVM_GET_MSRS":
            return [(i, v) for i, v in msrs(output) if i in FPU_MSRS]
        case _:
            return output


def _details(
    event: Event, old: bytes, new: bytes, state: ObservedState
) -> tuple[Statement | ReadingsDiffer, ...]:
    if event.name in IMAGES:
        return images_differ(event.op, old, new, state.host)
    if not event.output:
        before = int.from_bytes(old, "little")
        return (ReadingsDiffer(event.op, ResultDiffers(before, event.result)),)
    return values_differ(event.op, old, new)


def images_differ(
    op: Op, first: bytes, second: bytes, host: HostProfile
) -> tuple[Statement | ReadingsDiffer, ...]:
    """Return the differences between two images that the same call returned."""
    if len(first) != len(second):
        sizes = {"first": len(first), "second": len(second)}
        return (Statement(Claim.IMAGE_SIZES, sizes, (op,)),)
    if first == second:
        return ()
    return (ReadingsDiffer(op, image_differs(first, second, host.layout)),)


def values_differ(op: Op, first: bytes, second: bytes) -> tuple[ReadingsDiffer, ...]:
    """Return the named values that differ between two outputs of the same call."""
    before, now = op.read(first), op.read(second)
    changed = [name for name, value in now.items() if before.get(name) != value]
    if not changed:
        return ()
    expected = {name: before.get(name, 0) for name in changed}
    return (ReadingsDiffer(op, ValuesDiffer(expected, {name: now[name] for name in changed})),)
