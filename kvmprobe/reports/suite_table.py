"""Tests (rows) on several kernels (columns), with the reason of what did not pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kvmprobe.reports.excerpt import headline, printable
from kvmprobe.results.verdict import Verdict, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.run_document import RunDocument

_CELLS = {
    Verdict.PASS: "pass",
    Verdict.FAILED: "FAIL",
    Verdict.CRASHED: "PANIC",
    Verdict.TIMED_OUT: "timeout",
    Verdict.SKIPPED: "skip",
}
_NO_TEST, _NO_RESULT = "", "?"


@dataclass(frozen=True)
class SuiteColumn:
    """One kernel.

    :ivar spec: as it was asked for
    :ivar run: None if it has none
    :ivar refused: why it has no run, or an incomplete one; empty if it has not been refused
    """

    spec: str
    run: RunDocument | None
    refused: str = ""

    @cached_property
    def records(self) -> Mapping[str, ScenarioRecord]:
        """Its records by test."""
        return {record.id: record for record in self.run.records} if self.run else {}

    @property
    def heading(self) -> str:
        """The kernel's version, and the options of the emulated host."""
        targets = self.run.targets if self.run else []
        return targets[0].release if targets else self.spec

    def cell(self, test: str) -> str:
        """Return what became of a test; empty if its source does not have it."""
        if record := self.records.get(test):
            return _CELLS.get(record.verdict, record.verdict.value)
        return _NO_RESULT if self.run and test in self.run.not_completed else _NO_TEST

    def why(self, test: str) -> str:
        """Return the reason of what became of a test in one line, or nothing."""
        record = self.records.get(test)
        return headline(record) if record else ""


def suite_lines(columns: Sequence[SuiteColumn]) -> Iterator[str]:
    """Yield the table, then for each kernel its source, counts and notes."""
    tests = sorted({test for c in columns for test in (c.run.planned if c.run else ())})
    width = max(map(len, tests), default=0)
    widths = [
        max(len(column.heading), *(len(column.cell(test)) for test in tests), 0)
        for column in columns
    ]
    yield _row(" " * width, [column.heading for column in columns], widths, "")
    for test in tests:
        cells = [column.cell(test) for column in columns]
        yield _row(f"{test:{width}}", cells, widths, _reasons(columns, test))
    yield ""
    for column in columns:
        yield from map(printable, _summary(column))


def _row(lead: str, cells: Sequence[str], widths: Sequence[int], why: str) -> str:
    padded = "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
    return printable(f"{lead}  {padded}  {why}".rstrip())


def _reasons(columns: Sequence[SuiteColumn], test: str) -> str:
    """Return the reason once if all kernels with this test have the same."""
    having = [column for column in columns if test in column.records]
    whys = {column.heading: column.why(test) for column in having}
    if len(set(whys.values())) <= 1:
        return next(iter(whys.values()), "")
    return "; ".join(f"{heading}: {why}" for heading, why in whys.items() if why)


def _summary(column: SuiteColumn) -> Iterator[str]:
    parts = counted(Counter(record.verdict for record in column.records.values()))
    if column.refused:
        parts.append(f"refused: {column.refused}")
    targets = column.run.targets if column.run else []
    source = f" ({targets[0].source})" if targets else ""
    yield f"{column.heading}{source}: {', '.join(parts) or 'nothing ran'}"
    for note in column.run.notes if column.run else ():
        yield f"  {note}"
