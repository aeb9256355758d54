"""A call that was refused changes nothing, and one that was not changes only what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.checkers.event import cpuid_of, msrs, written_image
from kvmprobe.checkers.told import (
    FPU_MSRS,
    IMAGES,
    READS,
    SYSTEM_READS,
    changes_by_reading,
    failing,
)
from kvmprobe.results.record import Finding
from kvmprobe.xstate.cpuid import LEAF_EXTENDED_FEATURES, LEAF_TILE, LEAF_TMUL, LEAF_XSTATE
from kvmprobe.xstate.diff import differences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.told import Reading, Told
    from kvmprobe.model.host import HostProfile

# Other leaves tell of the processor that happens to run the call.
_STEADY_LEAVES = {LEAF_EXTENDED_FEATURES, LEAF_XSTATE, LEAF_TILE, LEAF_TMUL}


def steadiness(event: Event, told: Told) -> Iterator[Finding]:
    """Hold a read against the same read before, since when nothing may have changed it (INV-19).

    Between them: calls that were refused (INV-19), or calls about other state (INV-32, INV-38).
    """
    before = _before(event, told)
    if before is None or event.result < 0:
        return
    now = event.output or event.result.to_bytes(8, "little")
    if event.name in IMAGES:
        now = written_image(now, told.host)
    if _comparable(event, before.value) == _comparable(event, now):
        return
    refused = [e.op.text for e in before.since if failing(e)]
    others = [e.op.text for e in before.since if not failing(e)]
    if others:
        checker, invariant = "isolation", "INV-38"
        text = f"{event.name} has changed, which {' and '.join(dict.fromkeys(others))} is not about"
    elif refused:
        checker, invariant = "failing-call", "INV-19"
        text = f"{event.name} has changed, though {' and '.join(dict.fromkeys(refused))} failed"
    else:
        checker, invariant = "steady-read", "INV-19"
        text = f"{event.name} gives something else the second time"
    yield Finding(checker, invariant, event.step, text, _details(event, before.value, now, told))


def _before(event: Event, told: Told) -> Reading | None:
    if event.name in SYSTEM_READS:
        before = told.system.get(event.call)
        return before if before and before.epoch == told.permission_epoch else None
    vcpu = told.vcpu(event)
    if vcpu is None or event.name not in READS or changes_by_reading(event):
        return None
    return vcpu.readings.get(event.call)


def _comparable(event: Event, output: bytes) -> object:
    match event.name:
        case "KVM_GET_SUPPORTED_CPUID":
            table = cpuid_of(output)
            return table and [e for e in table.entries if e.leaf in _STEADY_LEAVES]
        case "KVM_GET_MSRS":
            return [(i, v) for i, v in msrs(output) if i in FPU_MSRS]
        case _:
            return output


def _details(event: Event, old: bytes, new: bytes, told: Told) -> tuple[str, ...]:
    if event.name in IMAGES:
        if len(old) != len(new):
            return (f"{len(old)} bytes before, {len(new)} now",)
        return image_details(old, new, told.host)
    if not event.output:
        return (f"before {int.from_bytes(old, 'little')}, now {event.result}",)
    then, now = event.op.read(old, told.host), event.op.read(new, told.host)
    return tuple(
        f"{name}: before {then.get(name, 0):#x}, now {value:#x}"
        for name, value in now.items()
        if then.get(name) != value
    )


def image_details(first: bytes, second: bytes, host: HostProfile) -> tuple[str, ...]:
    """Return where two images differ, a line a component."""
    return tuple(
        f"{d.where}, bytes {d.offset}-{d.offset + len(d.expected) - 1}: "
        f"{d.expected[:8].hex()}, then {d.observed[:8].hex()}"
        for d in differences(first, second, host.layout)
    )
