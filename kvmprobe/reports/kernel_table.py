"""Scenarios (rows) on several kernels (columns), and what changed between neighbours.

Scenarios of a family that came out the same on every kernel are one row.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kvmprobe.reports.excerpt import printable
from kvmprobe.results.comparison import fails
from kvmprobe.results.known import by_id
from kvmprobe.results.verdict import Verdict, counted
from kvmprobe.scenarios.scenario_id import family_of
from kvmprobe.search.signature import Explained, Signature, signatures_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.run_document import RunDocument

SCHEMA = "kvmprobe-table/1"
_NO_RESULT, _REFUSED = "?", ""
_CHANGED, _AS_BEFORE = "> ", "  "


@dataclass(frozen=True)
class KernelColumn:
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
        """Its records by scenario."""
        return {record.id: record for record in self.run.records} if self.run else {}

    @property
    def heading(self) -> str:
        """The kernel's version; as it was asked for if it did not run."""
        targets = self.run.targets if self.run else []
        return targets[0].kernel if targets else self.spec

    def cell(self, scenario: str) -> str:
        """Return what came of a scenario in a few characters; empty if the kernel was refused."""
        record = self.records.get(scenario)
        if record is None:
            return _REFUSED if self.refused else _NO_RESULT
        return " ".join(filter(None, (record.verdict.sign, _why(record))))

    def without_result(self, planned: Sequence[str]) -> int:
        """Return how many scenarios have neither a record nor a reason."""
        return 0 if self.refused else len(planned) - len(self.records.keys() & set(planned))


@dataclass(frozen=True, slots=True)
class Row:
    """Scenarios that came out the same on every kernel."""

    scenarios: tuple[str, ...]
    cells: tuple[str, ...]

    @property
    def changed(self) -> tuple[bool, ...]:
        """For each kernel, whether the cell differs from the last one to its left with a result."""
        marks, last = [], ""
        for cell in self.cells:
            has_result = cell not in {_REFUSED, _NO_RESULT}
            marks.append(has_result and bool(last) and cell != last)
            last = cell if has_result else last
        return tuple(marks)

    @property
    def name(self) -> str:
        """The id, or a glob for the ids."""
        parts = [scenario.split(".") for scenario in self.scenarios]
        common = [
            column[0] if len(set(column)) == 1 else "*" for column in zip(*parts, strict=False)
        ]
        longer = len(set(map(len, parts))) > 1 and common[-1] != "*"
        return ".".join(common) + "*" * longer


def rows_of(columns: Sequence[KernelColumn], planned: Iterable[str]) -> tuple[Row, ...]:
    """Fold scenarios into rows, in the order of the first of each.

    :param planned: ids of all scenarios, in the order of the table
    """
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for scenario in planned:
        cells = tuple(column.cell(scenario) for column in columns)
        alike.setdefault((family_of(scenario), cells), []).append(scenario)
    return tuple(Row(tuple(scenarios), cells) for (_, cells), scenarios in alike.items())


def table_lines(columns: Sequence[KernelColumn], planned: Sequence[str]) -> Iterator[str]:
    """Yield the table, what its cells mean, and the count of what was planned."""
    rows = rows_of(columns, planned)
    names = [row.name for row in rows]
    width = max(map(len, names), default=0)
    digits = len(str(max((len(row.scenarios) for row in rows), default=0)))
    headings = [column.heading for column in columns]
    widths = [
        max(len(heading), *(len(row.cells[at]) for row in rows), 1)
        for at, heading in enumerate(headings)
    ]
    yield _line(" " * (width + 2 + digits), headings, [False] * len(columns), widths)
    for name, row in zip(names, rows, strict=True):
        lead = f"{name:{width}}  {len(row.scenarios):{digits}}"
        yield _line(lead, row.cells, row.changed, widths)
    yield ""
    yield from map(printable, _legend(columns))
    yield ""
    for at, column in enumerate(columns):
        changed = sum(len(row.scenarios) for row in rows if row.changed[at])
        yield printable(_summary(column, planned, changed))
    yield count_line(columns, planned)


def count_line(columns: Sequence[KernelColumn], planned: Sequence[str]) -> str:
    """Return what was planned, and how it adds up."""
    wanted = set(planned)
    records = [r for c in columns for name, r in c.records.items() if name in wanted]
    skipped = sum(record.verdict is Verdict.SKIPPED for record in records)
    total = len(columns) * len(planned)
    lost = sum(column.without_result(planned) for column in columns)
    refused = total - len(records) - lost
    return (
        f"planned {total} ({len(columns)} kernels, {len(planned)} scenarios): "
        f"{len(records) - skipped} run, {skipped} skipped, {refused} refused with their kernel, "
        f"{lost} without a result"
    )


def table_json(columns: Sequence[KernelColumn], planned: Sequence[str]) -> dict[str, Any]:
    """Return the table as JSON-ready data, with each scenario by itself."""
    return {
        "schema": SCHEMA,
        "kernels": [_column_json(column, planned) for column in columns],
        "scenarios": [
            {
                "id": scenario,
                "cells": [_cell_json(column.records.get(scenario)) for column in columns],
                "changed": list(row.changed),
            }
            for row in rows_of(columns, planned)
            for scenario in row.scenarios
        ],
    }


def _column_json(column: KernelColumn, planned: Sequence[str]) -> dict[str, Any]:
    counts = Counter(record.verdict.value for record in column.records.values())
    targets = column.run.targets if column.run else []
    return {
        "spec": column.spec,
        "kernel": column.heading,
        "source": targets[0].source if targets else "",
        "run": column.run.name if column.run else "",
        "refused": column.refused,
        "counts": dict(counts),
        "without_result": column.without_result(planned),
    }


def _cell_json(record: ScenarioRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    signature = _signature(record)
    return {
        "verdict": record.verdict.value,
        "known": list(record.known),
        "signature": str(signature) if signature else "",
        "reason": record.reason,
    }


def _signature(record: ScenarioRecord) -> Signature | None:
    return next(iter(signatures_of(record, Explained.BY_NOTHING)), None)


def _why(record: ScenarioRecord) -> str:
    """Return what explains a cell: known defects, digits of a signature, or a code."""
    if record.verdict is Verdict.SKIPPED:
        return _code(record.reason)
    if not fails(record):
        return ""
    if record.explained:
        return "+".join(record.known)
    signature = _signature(record)
    return signature.digits if signature else _code(record.reason)


def _code(reason: str) -> str:
    return reason.partition(":")[0].partition(" ")[0]


def _line(lead: str, cells: Sequence[str], changed: Sequence[bool], widths: Sequence[int]) -> str:
    marks = (_CHANGED if change else _AS_BEFORE for change in changed)
    padded = (f"{m}{c:{w}}" for m, c, w in zip(marks, cells, widths, strict=True))
    return f"{lead}  {' '.join(padded)}".rstrip()


def _legend(columns: Iterable[KernelColumn]) -> Iterator[str]:
    records = [record for column in columns for record in column.records.values()]
    seen = {record.verdict for record in records}
    signs = [f"{verdict.sign} {verdict.value}" for verdict in Verdict if verdict in seen]
    yield "  ".join([*signs, f"{_CHANGED.strip()} not as on the kernel to its left"])
    defects = {d: None for r in records if fails(r) and r.explained for d in r.known}
    for defect in sorted(defects):
        yield f"{defect}: known, {by_id(defect).label()}: {by_id(defect).title}"
    others = {_why(r): _explained(r) for r in records if _is_explained_below(r)}
    yield from (f"{why}: {text}" for why, text in others.items())


def _is_explained_below(record: ScenarioRecord) -> bool:
    return bool(_why(record)) and not (fails(record) and record.explained)


def _explained(record: ScenarioRecord) -> str:
    if record.verdict is Verdict.SKIPPED:
        return record.reason.removeprefix(_code(record.reason)).lstrip(": ")
    signature = _signature(record)
    return f"not known, {signature}, as in {record.id}" if signature else record.reason


def _summary(column: KernelColumn, planned: Sequence[str], changed: int) -> str:
    parts = counted(Counter(record.verdict for record in column.records.values()))
    if changed:
        parts.append(f"{changed} changed")
    if lost := column.without_result(planned):
        parts.append(f"{lost} without a result")
    if column.refused:
        parts.append(f"refused: {column.refused}")
    targets = column.run.targets if column.run else []
    source = f" ({targets[0].source})" if targets else ""
    return f"{column.heading}{source}: {', '.join(parts) or 'nothing ran'}"
