"""Compares a CPUID table with the expected one, entry by entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.results.difference import EntryDiffers, RegisterDiffers, TableDiffers
from kvmprobe.xstate.cpuid import Register

if TYPE_CHECKING:
    from kvmprobe.model.outcome import ExpectedTable
    from kvmprobe.xstate.cpuid import CpuidTable


def table_differs(expected: ExpectedTable, observed: CpuidTable) -> TableDiffers | None:
    """Return the differences up to the first entry of another leaf or sub-leaf, or None."""
    wanted, seen = expected.table.entries, observed.entries
    counts = None if len(wanted) == len(seen) else (len(wanted), len(seen))
    parts: list[RegisterDiffers | EntryDiffers] = []
    for entry, other in zip(wanted, seen, strict=False):
        if entry == other:
            continue
        if entry[:3] != other[:3]:
            return TableDiffers((*parts, EntryDiffers(entry, other)))
        for register in Register:
            value, read = (getattr(one, register) for one in (entry, other))
            if value != read and (entry.leaf, register) not in expected.unspecified:
                parts.append(RegisterDiffers(entry.leaf, entry.subleaf, register, value, read))
    return TableDiffers(tuple(parts), counts) if parts or counts else None
