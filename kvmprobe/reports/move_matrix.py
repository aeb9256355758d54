"""A matrix of moves: rows are sources, columns are targets, each order a sign."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from kvmprobe import __version__
from kvmprobe.moves.causes import Cause
from kvmprobe.moves.cells import Cell, Fared, Fate
from kvmprobe.moves.restoring import Into
from kvmprobe.reports.moves import CAUSES, fact_json, facts_of, happens, sentence
from kvmprobe.reports.vmm_sentences import pieces_text
from kvmprobe.results.codec import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmprobe.vmm.findings import Piece

SCHEMA = "kvmprobe-moves/2"
_SIGNS = {Fate.GOES_ON: ".", Fate.LOST: "L", Fate.REFUSED: "R", Fate.FATAL: "F"}
NOT_PREDICTED, NOT_RUN, NOT_TRIED, NOT_PLANNED = "?", "-", "x", " "
LEGEND: Mapping[str, str] = {
    ".": "goes on",
    "L": "lost",
    "R": "refused by a call",
    "F": "fatal to the target",
    NOT_PREDICTED: "not as predicted",
    NOT_RUN: "did not run",
    NOT_TRIED: "not tried",
}
_CORNER = "from \\ to"
# The worst first: a sign stands for all uses of an order.
_WORST = "?-FRLx."
TITLES = {
    Cause.DEFECT: "kernel defect",
    Cause.TARGET: "the target differs",
    Cause.ORDER: "the VMM's order",
    Cause.ABI: "undetermined by the ABI",
}


class Column(NamedTuple):
    """One sign of each place: an order, into new or used vCPUs."""

    order: str
    into: Into

    @property
    def text(self) -> str:
        """Return ``crosvm``, or ``crosvm into a used vCPU``."""
        return self.order if self.into is Into.NEW else f"{self.order} into a used vCPU"


def columns_of(cells: Iterable[Cell], orders: Sequence[str]) -> list[Column]:
    """Return the columns that have cells: into new vCPUs first, and by order."""
    there = {Column(cell.order, cell.into) for cell in cells}
    every = (Column(order, into) for into in Into for order in orders)
    return [column for column in every if column in there]


def hosts_of(cells: Sequence[Cell]) -> list[str]:
    """Return the names of the hosts, each once."""
    return list(dict.fromkeys([*(c.source for c in cells), *(c.target for c in cells)]))


def matrix_lines(cells: Sequence[Cell], orders: Sequence[str], width: int) -> Iterator[str]:
    """Yield the matrix, why guests do not go on, and what did not run or was not predicted.

    :param width: of the terminal; a matrix that is wider is left out
    """
    yield from _table(cells, columns_of(cells, orders), width)
    title = ""
    for of, text, found in findings_of(cells):
        if of != title:
            title = of
            yield f"{of}:"
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        yield f"  {text}"
        yield f"    {_move_text(found[0])}{more}"
    yield counts(cells)


def findings_of(cells: Sequence[Cell]) -> Iterator[tuple[str, str, list[Cell]]]:
    """Yield why and what, and the moves of which it is so; what is a failure comes first."""
    yield from _grouped("NOT AS PREDICTED", _unpredicted(cells))
    yield from _grouped("DID NOT RUN", ((c.why_not, c) for c in cells if c.why_not))
    yield from _grouped("not tried", ((c.refused, c) for c in cells if c.refused))
    facts = [(f, c) for c in cells if c.is_as_predicted for f in facts_of(c.findings)]
    for cause in CAUSES:
        of_cause = ((sentence(fact), cell) for fact, cell in facts if fact.cause is cause)
        yield from _grouped(TITLES[cause], of_cause)


def _table(cells: Sequence[Cell], columns: Sequence[Column], width: int) -> Iterator[str]:
    hosts, by_place = hosts_of(cells), places(cells)
    wide = max([*map(len, hosts), len(columns), len(_CORNER)]) + 2
    if (len(hosts) + 1) * wide > width:
        yield f"the matrix of {len(hosts)} hosts is wider than the terminal; --html has it"
        return
    yield f"signs, from left to right: {', '.join(column.text for column in columns)}"
    yield "  ".join(f"{sign} {text}" for sign, text in LEGEND.items())
    yield (_CORNER.ljust(wide) + "".join(host.ljust(wide) for host in hosts)).rstrip()
    for source in hosts:
        shown = (
            "".join(sign(by_place.get((source, target, *column), ())) for column in columns)
            for target in hosts
        )
        yield (source.ljust(wide) + "".join(text.ljust(wide) for text in shown)).rstrip()


def places(cells: Iterable[Cell]) -> Mapping[tuple[str, str, str, Into], list[Cell]]:
    """Return the cells of each source, target, order and vCPU."""
    found: dict[tuple[str, str, str, Into], list[Cell]] = defaultdict(list)
    for cell in cells:
        found[cell.source, cell.target, cell.order, cell.into].append(cell)
    return found


def sign(cells: Iterable[Cell]) -> str:
    """Return the sign of the worst cell of a place; a blank if nothing was planned."""
    found = set(map(_sign, cells))
    return next((sign for sign in _WORST if sign in found), NOT_PLANNED)


def _sign(cell: Cell) -> str:
    if cell.refused:
        return NOT_TRIED
    if cell.why_not:
        return NOT_RUN
    return _SIGNS[cell.seen.fate] if cell.seen and cell.is_as_predicted else NOT_PREDICTED


def _grouped(
    title: str, texts: Iterable[tuple[str, Cell]]
) -> Iterator[tuple[str, str, list[Cell]]]:
    by_text: dict[str, list[Cell]] = defaultdict(list)
    for text, cell in texts:
        by_text[text].append(cell)
    for text, cells in by_text.items():
        yield title, text, cells


def _move_text(cell: Cell) -> str:
    column = Column(cell.order, cell.into).text
    return f"{cell.source} to {cell.target}, {column}" + (f", {cell.use}" if cell.use else "")


def _unpredicted(cells: Iterable[Cell]) -> Iterator[tuple[str, Cell]]:
    for cell in cells:
        if not (cell.refused or cell.why_not or cell.is_as_predicted):
            yield _unpredicted_text(cell), cell


def _unpredicted_text(cell: Cell) -> str:
    if cell.seen == cell.predicted:
        return "a call did what the model does not expect of this kernel"
    return f"{_fared(cell.seen)}, where the hosts' facts say {_fared(cell.predicted)}"


def cell_texts(cell: Cell) -> tuple[str, ...]:
    """Return what became of a guest and why, or why that is not known."""
    if cell.refused:
        return (f"not tried: {cell.refused}",)
    if cell.why_not:
        return (f"did not run: {cell.why_not}",)
    if not cell.is_as_predicted:
        return (f"not as predicted: {_unpredicted_text(cell)}",)
    facts = facts_of(cell.findings)
    texts = (f"{happens(fact)} ({TITLES[fact.cause]})" for fact in facts)
    return tuple(texts) or (Fate.GOES_ON.value,)


def counts(cells: Sequence[Cell]) -> str:
    """Return ``58 moves planned: 57 as predicted, 1 did not run, 0 not as predicted``."""
    good = sum(cell.is_as_predicted for cell in cells)
    left = sum(bool(cell.why_not) for cell in cells)
    refused = sum(bool(cell.refused) for cell in cells)
    others = len(cells) - good - left - refused
    each = (
        f"{good} as predicted, {others} not as predicted, {left} did not run, {refused} not tried"
    )
    return f"{len(cells)} moves planned: {each}"


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
        "into": cell.into.value,
        "use": cell.use.value if cell.use else None,
        "not_tried": cell.refused,
        "why_not": cell.why_not,
        "findings": [fact_json(fact) for fact in facts_of(cell.findings)],
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
