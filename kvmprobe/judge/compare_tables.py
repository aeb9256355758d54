"""Where a CPUID table differs from the expected one, entry by entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.xstate.cpuid import Register

if TYPE_CHECKING:
    from kvmprobe.model.outcome import ExpectedTable
    from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable


@dataclass(frozen=True, slots=True)
class TableDifference:
    """One thing that differs, expected and observed as text."""

    expected: str
    observed: str

    @property
    def text(self) -> str:
        """Both in one line."""
        return f"expected {self.expected}, observed {self.observed}"


def table_differences(expected: ExpectedTable, observed: CpuidTable) -> list[TableDifference]:
    """Return the differences; where the entries themselves are others, the first of those."""
    wanted, seen = expected.table.entries, observed.entries
    found: list[TableDifference] = []
    for want, have in zip(wanted, seen, strict=False):
        if want == have:
            continue
        if want[:3] != have[:3]:
            return [*found, TableDifference(_entry(want), _entry(have))]
        for register in Register:
            value, other = (getattr(entry, register.value) for entry in (want, have))
            if value != other and (want.leaf, register) not in expected.unspecified:
                name = f"{_place(want)}:{register.name}"
                found.append(TableDifference(f"{name}={value:#x}", f"{name}={other:#x}"))
    if len(wanted) != len(seen):
        found.append(TableDifference(f"{len(wanted)} entries", f"{len(seen)} entries"))
    return found


def _place(entry: CpuidEntry) -> str:
    return f"{entry.leaf:#x}.{entry.subleaf:x}"


def _entry(entry: CpuidEntry) -> str:
    registers = " ".join(f"{value:x}" for value in entry[3:])
    return f"leaf {_place(entry)}, flags {entry.flags:#x}: {registers}"
