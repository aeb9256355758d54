"""What two answers of one call have otherwise, apart from what depends on the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.ioctls.as_recorded import GET_PIT2
from kvmprobe.abi.numbers import msr_name
from kvmprobe.abi.tables import MSRS
from kvmprobe.model.outcome import Done
from kvmprobe.recordings.members import is_image, members_of
from kvmprobe.results.difference import (
    KEPT_BYTES,
    BytesDiffer,
    Difference,
    ValuesDiffer,
    image_differs,
)

if TYPE_CHECKING:
    from kvmprobe.abi.ioctls import IoctlSpec
    from kvmprobe.model.outcome import Unspecified
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.vmm.taken import Taken
    from kvmprobe.xstate.layout import Layout

_OF_TIME = (ioctls.GET_CLOCK, GET_PIT2)
# IA32_TIME_STAMP_COUNTER; HV_X64_MSR_VP_RUNTIME and HV_X64_MSR_TIME_REF_COUNT (asm/hyperv-tlfs.h).
_CLOCKS = frozenset(map(msr_name, (0x10, 0x40000010, 0x40000020)))
# SDM vol.3, local APIC register address map: the timer's current count.
_CURRENT_COUNT = slice(0x390, 0x394)


def differs(
    recorded: Entry, here: Entry, models: tuple[Taken, ...], layout: Layout
) -> Difference | None:
    """Return how what a call read differs; None if it reads nothing, or the same.

    :param models: what the model says of either; its unspecified bits are not compared
    """
    spec = recorded.spec
    value, other = recorded.got_value, here.got_value
    if value is not None and other is not None and value != other:
        return BytesDiffer(0, value, other)
    if spec is None or recorded.got is None or here.got is None or spec in _OF_TIME:
        return None
    before, after = _alike(spec, recorded, here, models)
    if before == after:
        return None
    if is_image(spec):
        return image_differs(before, after, layout)
    return _values(spec, before, after) or _bytes(spec, before, after)


def _alike(
    spec: IoctlSpec, recorded: Entry, here: Entry, models: tuple[Taken, ...]
) -> tuple[bytes, bytes]:
    """Return both contents as long as the shorter one, with equal bits where any is right."""
    assert recorded.got is not None and here.got is not None  # noqa: S101, PT018 - the caller's
    size = min(len(recorded.got), len(here.got))
    if spec == ioctls.GET_MSRS:
        results = (getattr(one.line, "result", 0) or 0 for one in (recorded, here))
        size = min(size, MSRS.offset(min(results)))
    before, after = bytearray(recorded.got[:size]), bytearray(here.got[:size])
    if spec == ioctls.GET_LAPIC:
        after[_CURRENT_COUNT] = before[_CURRENT_COUNT]
    for place in _unspecified(models):
        for index, bits in enumerate(place.bits, place.offset):
            if index < size:
                after[index] = after[index] & ~bits & 0xFF | before[index] & bits
    return bytes(before), bytes(after)


def _unspecified(models: tuple[Taken, ...]) -> list[Unspecified]:
    found: list[Unspecified] = []
    for taken in models:
        outcome = taken.step.outcome if taken.step else None
        if isinstance(outcome, Done) and outcome.image is not None:
            found += outcome.image.unspecified
    return found


def _values(spec: IoctlSpec, before: bytes, after: bytes) -> ValuesDiffer | None:
    old, new = members_of(spec, before), members_of(spec, after)
    names = [
        name
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name) and name not in _CLOCKS
    ]
    if not names:
        return None
    return ValuesDiffer(
        {name: old[name] for name in names if name in old},
        {name: new[name] for name in names if name in new},
    )


def _bytes(spec: IoctlSpec, before: bytes, after: bytes) -> BytesDiffer | None:
    """Return the first bytes that differ, of a structure whose members have no names here."""
    if members_of(spec, before) and spec != ioctls.GET_LAPIC:
        return None
    at = next(
        place for place, pair in enumerate(zip(before, after, strict=True)) if len(set(pair)) > 1
    )
    return BytesDiffer(at, before[at:][:KEPT_BYTES], after[at:][:KEPT_BYTES])
