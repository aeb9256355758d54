"""A matrix of moves as one HTML page, which needs neither network nor script."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from kvmprobe import __version__
from kvmprobe.moves.restoring import Into
from kvmprobe.reports.move_matrix import (
    LEGEND,
    NOT_PLANNED,
    NOT_PREDICTED,
    NOT_RUN,
    NOT_TRIED,
    Column,
    cell_texts,
    columns_of,
    counts,
    findings_of,
    hosts_of,
    places,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmprobe.moves.cells import Cell

_CLASSES = {
    ".": "goes",
    "L": "lost",
    "R": "refused",
    "F": "fatal",
    NOT_PREDICTED: "odd",
    NOT_RUN: "odd",
    NOT_TRIED: "untried",
    NOT_PLANNED: "",
}


class _Host(NamedTuple):
    name: str

    @property
    def kernel(self) -> str:
        return self.name.partition(" ")[0]

    @property
    def cpu(self) -> str:
        return self.name.partition(" ")[2].removeprefix("--cpu ")


class _Finding(NamedTuple):
    title: str
    text: str
    moves: int
    orders: tuple[str, ...]
    odd: bool


class _Move(NamedTuple):
    sign: str
    column: str
    use: str
    texts: tuple[str, ...]


class _Place(NamedTuple):
    target: str
    same: bool
    wrong: bool
    lines: tuple[str, ...]
    moves: tuple[_Move, ...]


class _Row(NamedTuple):
    host: _Host
    places: tuple[_Place, ...]


def matrix_page(cells: Sequence[Cell], orders: Sequence[str]) -> str:
    """Return the page: rows are sources, columns are targets; a click on a cell lists its moves."""
    columns = columns_of(cells, orders)
    lines = [line for into in Into if (line := [c for c in columns if c.into is into])]
    hosts, by_place = hosts_of(cells), places(cells)
    rows = [
        _Row(_Host(source), tuple(_place(by_place, source, target, lines) for target in hosts))
        for source in hosts
    ]
    return _template().render(
        version=__version__,
        counts=counts(cells),
        findings=list(_findings(cells)),
        legend=LEGEND,
        classes=_CLASSES,
        lines=lines,
        hosts=[_Host(host) for host in hosts],
        rows=rows,
    )


def _place(
    by_place: Mapping[tuple[str, str, str, Into], Sequence[Cell]],
    source: str,
    target: str,
    lines: Sequence[Sequence[Column]],
) -> _Place:
    def there(column: Column) -> Sequence[Cell]:
        return by_place.get((source, target, *column), ())

    signs = tuple("".join(sign(there(column)) for column in line) for line in lines)
    moves = tuple(move for line in lines for column in line for move in _moves(there(column)))
    wrong = any(NOT_PREDICTED in line or NOT_RUN in line for line in signs)
    return _Place(target, source == target, wrong, signs, moves)


def _moves(cells: Sequence[Cell]) -> Iterator[_Move]:
    """Yield the moves of one column; ways to use the state that fare alike are one."""
    alike: dict[tuple[str, tuple[str, ...]], list[Cell]] = defaultdict(list)
    for cell in cells:
        alike[sign([cell]), cell_texts(cell)].append(cell)
    for (shown, texts), found in alike.items():
        column = Column(found[0].order, found[0].into).text
        uses = ", ".join(cell.use for cell in found if cell.use)
        yield _Move(shown, column, uses, texts)


def _findings(cells: Sequence[Cell]) -> Iterator[_Finding]:
    for title, text, found in findings_of(cells):
        orders = tuple(dict.fromkeys(Column(cell.order, cell.into).text for cell in found))
        yield _Finding(title, text, len(found), orders, title.isupper())


@cache
def _template() -> Template:
    loader = PackageLoader("kvmprobe.reports", "moves_page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("moves.html.j2")
