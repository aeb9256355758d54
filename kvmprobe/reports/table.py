"""The table of orders (rows) by variants (columns), one sign a cell.

A column is named by parts between dots; columns that share all but the last axes stand together.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmprobe.results.record import ScenarioRecord

_BLOCK_AXES = 2
_NO_CELL = " "


def table(records: Sequence[ScenarioRecord]) -> list[str]:
    """Return the table's lines; rows and columns in order of first appearance."""
    rows = list(dict.fromkeys(r.row for r in records))
    columns = sorted(dict.fromkeys(r.column for r in records), key=_Natural(records))
    signs = {(r.row, r.column): r.verdict.sign for r in records}
    width = max(len(row) for row in rows)
    blocks = [list(block) for _, block in groupby(columns, key=_block)]
    lines = [f"{'':{width}}  {header}" for header in _headers(blocks)]
    for row in rows:
        cells = (
            " ".join("".join(signs.get((row, c), _NO_CELL) for c in group) for group in _groups(block))
            for block in blocks
        )
        lines.append(f"{row:{width}}  {'  '.join(cells)}".rstrip())
    return [*lines, "", *_legend(blocks, records)]


class _Natural:
    """Sorts columns by the place at which each of their parts first appeared."""

    def __init__(self, records: Iterable[ScenarioRecord]) -> None:
        self._rank: dict[str, int] = {}
        for record in records:
            for part in record.column.split("."):
                self._rank.setdefault(part, len(self._rank))

    def __call__(self, column: str) -> tuple[int, ...]:
        return tuple(self._rank[part] for part in column.split("."))


def _block(column: str) -> tuple[str, ...]:
    return tuple(column.split(".")[:_BLOCK_AXES])


def _groups(block: Sequence[str]) -> Iterator[list[str]]:
    for _, group in groupby(block, key=lambda column: column.split(".")[: _BLOCK_AXES + 1]):
        yield list(group)


def _headers(blocks: Sequence[Sequence[str]]) -> list[str]:
    lines = ["", ""]
    for block in blocks:
        width = sum(len(group) + 1 for group in _groups(block)) - 1
        for axis, part in enumerate(_block(block[0])):
            lines[axis] += f"{part[:width]:{width}}  "
    return [line.rstrip() for line in lines]


def _legend(blocks: Sequence[Sequence[str]], records: Iterable[ScenarioRecord]) -> list[str]:
    group_names: dict[str, None] = {}
    cell_names: dict[str, None] = {}
    for block in blocks:
        for column in block:
            parts = column.split(".")
            group_names |= dict.fromkeys(parts[_BLOCK_AXES : _BLOCK_AXES + 1])
            cell_names |= dict.fromkeys([".".join(parts[_BLOCK_AXES + 1 :]) or "xcr0-all"])
    signs = "  ".join(f"{v.sign} {v.value}" for v in Verdict if any(r.verdict is v for r in records))
    return [
        f"in each block, groups from left to right: {', '.join(group_names)}",
        f"in each group, cells from left to right:  {', '.join(cell_names)}",
        signs,
    ]
