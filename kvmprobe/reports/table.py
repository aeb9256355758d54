"""The table of orders (rows) by variants (columns), one sign a cell.

A column is named by parts between dots; columns that share all but the last axes stand together.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmprobe.results.record import ScenarioRecord

_BLOCK_AXES = 2
_NO_CELL = " "
_FEW_COLUMNS = 9


def table(records: Sequence[ScenarioRecord]) -> list[str]:
    """Return the table's lines; rows and columns in order of first appearance."""
    rows = list(dict.fromkeys(r.row for r in records))
    columns = sorted(dict.fromkeys(r.column for r in records), key=_Natural(records))
    signs = {(r.row, r.column): r.verdict.sign for r in records}
    width = max(len(row) for row in rows)
    few = len(columns) <= _FEW_COLUMNS
    blocks = [[columns]] if few else _blocks(columns)
    headers = ["".join(str(n + 1) for n in range(len(columns)))] if few else _headers(blocks)
    lines = [f"{'':{width}}  {header}" for header in headers]
    for row in rows:
        cells = (
            " ".join("".join(signs.get((row, c), _NO_CELL) for c in group) for group in block)
            for block in blocks
        )
        lines.append(f"{row:{width}}  {'  '.join(cells)}".rstrip())
    numbered = [f"{n + 1} {column}" for n, column in enumerate(columns)]
    return [*lines, "", *(numbered if few else _legend(blocks)), _signs(records)]


class _Natural:
    """Sorts columns by the place at which each of their parts first appeared."""

    def __init__(self, records: Iterable[ScenarioRecord]) -> None:
        self._rank: dict[str, int] = {}
        for record in records:
            for part in record.column.split("."):
                self._rank.setdefault(part, len(self._rank))

    def __call__(self, column: str) -> tuple[int, ...]:
        return tuple(self._rank[part] for part in column.split("."))


def _blocks(columns: Sequence[str]) -> list[list[list[str]]]:
    """Split columns by their first axes into blocks, and those by the next axis into groups."""
    return [
        [list(group) for _, group in groupby(block, key=lambda c: c.split(".")[: _BLOCK_AXES + 1])]
        for _, block in groupby(columns, key=lambda c: c.split(".")[:_BLOCK_AXES])
    ]


def _headers(blocks: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    lines = [""] * _BLOCK_AXES
    for block in blocks:
        width = sum(len(group) + 1 for group in block) - 1
        for axis, part in enumerate(block[0][0].split(".")[:_BLOCK_AXES]):
            lines[axis] += f"{part[:width]:{width}}  "
    return [line.rstrip() for line in lines]


def _legend(blocks: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    columns = [column.split(".") for block in blocks for group in block for column in group]
    groups = dict.fromkeys(".".join(parts[_BLOCK_AXES : _BLOCK_AXES + 1]) for parts in columns)
    cells = dict.fromkeys(".".join(parts[_BLOCK_AXES + 1 :]) or "xcr0-all" for parts in columns)
    return [
        f"in each block, groups from left to right: {', '.join(groups)}",
        f"in each group, cells from left to right:  {', '.join(cells)}",
    ]


def _signs(records: Iterable[ScenarioRecord]) -> str:
    seen = {record.verdict for record in records}
    return "  ".join(f"{verdict.sign} {verdict.value}" for verdict in Verdict if verdict in seen)
