"""The table of orders (rows) and variants (columns), with a character for each verdict.

The name of a column has parts between dots; columns with the same first parts form a block.
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
    """Return the lines; rows and columns are in the order of their first appearance."""
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
        padded = (f"{c:{1 if few else _width(b)}}" for c, b in zip(cells, blocks, strict=True))
        lines.append(f"{row:{width}}  {'  '.join(padded)}".rstrip())
    numbered = [f"{n + 1} {column}" for n, column in enumerate(columns)]
    return [*lines, "", *(numbered if few else _legend(blocks)), _signs(records)]


class _Natural:
    """Sorts columns by the first appearance of each of their parts."""

    def __init__(self, records: Iterable[ScenarioRecord]) -> None:
        self._rank: dict[str, int] = {}
        for record in records:
            for part in record.column.split("."):
                self._rank.setdefault(part, len(self._rank))

    def __call__(self, column: str) -> tuple[int, ...]:
        return tuple(self._rank[part] for part in column.split("."))


def _blocks(columns: Sequence[str]) -> list[list[list[str]]]:
    """Split columns into blocks by their first parts, and blocks into groups by the next part."""
    return [
        [list(group) for _, group in groupby(block, key=lambda c: c.split(".")[: _BLOCK_AXES + 1])]
        for _, block in groupby(columns, key=lambda c: c.split(".")[:_BLOCK_AXES])
    ]


def _names(block: Sequence[Sequence[str]]) -> list[str]:
    return block[0][0].split(".")[:_BLOCK_AXES]


def _width(block: Sequence[Sequence[str]]) -> int:
    cells = sum(len(group) + 1 for group in block) - 1
    return max(cells, *map(len, _names(block)))


def _headers(blocks: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    lines = [""] * _BLOCK_AXES
    for block in blocks:
        for axis, part in enumerate(_names(block)):
            lines[axis] += f"{part:{_width(block)}}  "
    return [line.rstrip() for line in lines]


def _legend(blocks: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    """Return lines that name the groups and cells of each block."""
    legends: dict[str, list[str]] = {}
    for block in blocks:
        parts = [column.split(".") for group in block for column in group]
        groups = dict.fromkeys(".".join(p[_BLOCK_AXES : _BLOCK_AXES + 1]) for p in parts)
        cells = dict.fromkeys(".".join(p[_BLOCK_AXES + 1 :]) or "xcr0-all" for p in parts)
        legends.setdefault(f"groups {', '.join(groups)}; cells {', '.join(cells)}", []).append(
            ".".join(_names(block))
        )
    if len(legends) == 1:
        return [f"from left to right in each block: {text}" for text in legends]
    return [f"from left to right in {', '.join(of)}: {text}" for text, of in legends.items()]


def _signs(records: Iterable[ScenarioRecord]) -> str:
    seen = {record.verdict for record in records}
    return "  ".join(f"{verdict.sign} {verdict.value}" for verdict in Verdict if verdict in seen)
