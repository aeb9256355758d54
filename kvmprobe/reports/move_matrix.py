"""A matrix of moves: rows are sources, columns are targets, each order a sign."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from kvmprobe import __version__
from kvmprobe.moves.cells import Cell, Fared, Fate
from kvmprobe.reports.vmm_sentences import pieces_text
from kvmprobe.results.codec import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.vmm.findings import Piece

SCHEMA = "kvmprobe-moves/1"
_SIGNS = {Fate.GOES_ON: ".", Fate.LOST: "L", Fate.REFUSED: "R", Fate.FATAL: "F"}
LEGEND = ". goes on  L lost  R refused  F fatal  ? not as predicted  - did not run"
_CORNER = "from \\ to"
# The worst first: a sign stands for all uses of an order.
_WORST = "?-FRL."


def matrix_lines(cells: Sequence[Cell], orders: Sequence[str]) -> Iterator[str]:
    """Yield the matrix, what was lost or refused, and what did not run or was not predicted."""
    hosts = hosts_of(cells)
    wide = max([*map(len, hosts), len(orders), len(_CORNER)]) + 2
    yield f"orders, from left to right: {', '.join(orders)}"
    yield LEGEND
    yield _CORNER.ljust(wide) + "".join(host.ljust(wide) for host in hosts)
    for source in hosts:
        shown = (signs(cells, source, target, orders) for target in hosts)
        yield source.ljust(wide) + "".join(text.ljust(wide) for text in shown)
    yield from _reasons(cells)
    yield counts(cells)


def hosts_of(cells: Sequence[Cell]) -> list[str]:
    """Return the names of the hosts, each once."""
    return list(dict.fromkeys([*(c.source for c in cells), *(c.target for c in cells)]))


def counts(cells: Sequence[Cell]) -> str:
    """Return ``58 moves planned: 57 as predicted, 1 did not run, 0 not as predicted``."""
    good = sum(cell.is_as_predicted for cell in cells)
    left = sum(bool(cell.why_not) for cell in cells)
    others = len(cells) - good - left
    each = f"{good} as predicted, {left} did not run, {others} not as predicted"
    return f"{len(cells)} moves planned: {each}"


def signs(cells: Sequence[Cell], source: str, target: str, orders: Sequence[str]) -> str:
    """Return a sign for each order, the worst of its uses; a blank if nothing was planned."""

    def worst(order: str) -> str:
        place = (source, target, order)
        found = {_sign(cell) for cell in cells if (cell.source, cell.target, cell.order) == place}
        return next((sign for sign in _WORST if sign in found), " ")

    return "".join(map(worst, orders))


def _sign(cell: Cell) -> str:
    if cell.why_not:
        return "-"
    return _SIGNS[cell.seen.fate] if cell.seen and cell.is_as_predicted else "?"


def _reasons(cells: Sequence[Cell]) -> Iterator[str]:
    by_text: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        if text := _reason(cell):
            by_text[text].append(f"{cell.source} to {cell.target}, {cell.order}, {cell.use}")
    for text, moves in by_text.items():
        yield text
        more = f", and {len(moves) - 1} more" if len(moves) > 1 else ""
        yield f"  {moves[0]}{more}"


def _reason(cell: Cell) -> str:
    if cell.why_not:
        return f"did not run: {cell.why_not}"
    if not cell.agrees:
        return "NOT AS PREDICTED: a call did what the model does not expect of this kernel"
    if not cell.is_as_predicted:
        seen, said = _fared(cell.seen), _fared(cell.predicted)
        return f"NOT AS PREDICTED: {seen}, where the hosts' facts say {said}"
    return "" if cell.seen and cell.seen.fate is Fate.GOES_ON else _fared(cell.seen)


def fate_text(cell: Cell) -> str:
    """Return what became of a guest, or why that is not known."""
    return _reason(cell) or Fate.GOES_ON.value


def _fared(fared: Fared | None) -> str:
    if fared is None:
        return "nothing"
    return " ".join(filter(None, (fared.fate.value, fared.call, pieces_text(_in_order(fared)))))


def _in_order(fared: Fared) -> list[Piece]:
    return sorted(fared.pieces, key=lambda piece: (piece.kind.value, piece.number))


def matrix_json(cells: Sequence[Cell], orders: Sequence[str]) -> dict[str, Any]:
    """Return the matrix as JSON-ready data."""
    return {
        "schema": SCHEMA,
        "tool": __version__,
        "orders": list(orders),
        "cells": [_cell(cell) for cell in cells],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "source": cell.source,
        "target": cell.target,
        "order": cell.order,
        "use": cell.use.value,
        "why_not": cell.why_not,
        "predicted": _json(cell.predicted),
        "seen": _json(cell.seen),
        "calls_as_predicted": cell.agrees,
        "as_predicted": cell.is_as_predicted,
    }


def _json(fared: Fared | None) -> dict[str, Any] | None:
    if fared is None:
        return None
    listed = [to_json(type(piece), piece) for piece in _in_order(fared)]
    return {"fate": fared.fate.value, "call": fared.call, "pieces": listed}
