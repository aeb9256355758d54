"""Where a CPUID table differs from the expected one, entry by entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.results.difference import EntryDiffers, RegisterDiffers, TableDiffers
from kvmprobe.xstate.cpuid import Register

if TYPE_CHECKING:
    from kvmprobe.model.outcome import ExpectedTable
    from kvmprobe.xstate.cpuid import CpuidTable


def table_differs(expected: ExpectedTable, observed: CpuidTable) -> TableDiffers | None:
    """Return the differences; up to the first entry that is of another sub-leaf."""
    wanted, seen = expected.table.entries, observed.entries
    counts = None if len(wanted) == len(seen) else (len(wanted), len(seen))
    parts: list[RegisterDiffers | EntryDiffers] = []
    for want, have in zip(wanted, seen, strict=False):
        if want == have:
            continue
        if want[:3] != have[:3]:
            return TableDiffers((*parts, EntryDiffers(want, have)))
        for register in Register:
            value, other = (getattr(entry, register.value) for entry in (want, have))
            if value != other and (want.leaf, register) not in expected.unspecified:
                parts.append(RegisterDiffers(want.leaf, want.subleaf, register, value, other))
    return TableDiffers(tuple(parts), counts) if parts or counts else None
