"""The commutation atlas as text, as a page, and the differences of two."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from kvmprobe import __version__
from kvmprobe.errors import errno_name
from kvmprobe.results.known import label
from kvmprobe.search.atlas import Atlas, Cell, OneOrder, Order

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN = (Order.COMMUTES, Order.UNTRIED)


def atlas_lines(atlas: Atlas) -> Iterator[str]:
    """Yield the table, and one line for each pair whose order matters beyond the last writer."""
    cells = {(cell.one, cell.other): cell for cell in atlas.cells}
    names = list(atlas.calls)
    width = max(map(len, names))
    for row, name in enumerate(names):
        signs = [cells[other, name].order.sign for other in names[:row]]
        yield f"{name:{width}}  {' '.join((*signs, chr(92)))}".rstrip()
    yield ""
    yield from (f"{order.sign} {order.value}" for order in Order if order is not Order.UNTRIED)
    counts = Counter(cell.order for cell in atlas.cells)
    shown = ", ".join(f"{counts[order]} {order.name}" for order in Order if counts[order])
    yield f"{atlas.kernel}: {len(names)} calls, {shown}; {atlas.seconds:.1f} s"
    for cell in atlas.cells:
        if cell.order in {Order.SILENT, Order.FATAL}:
            yield f"{cell.order.sign} {cell_text(cell, atlas.kernel)}"


def cell_text(cell: Cell, kernel: str) -> str:
    """Return a cell in one line."""
    orders = "; ".join(map(order_text, cell.orders))
    differs = f"; then {', '.join(cell.differs)}" if cell.differs else ""
    known = f" ({label(cell.known, kernel)})" if cell.known else ""
    return f"{cell.one}, {cell.other} in {cell.start}: {orders}{differs}{known}"


def order_text(order: OneOrder) -> str:
    """Return the results of two calls, in the order in which they were made."""
    if order.crash:
        return f"{order.first}, {order.second}: the host dies: {order.crash}"
    results = (errno_name(-r) if r < 0 else str(r) for r in order.results)
    shown = zip((order.first, order.second), results, strict=False)
    return ", ".join(f"{name}={result}" for name, result in shown)


def atlas_page(atlas: Atlas) -> str:
    """Return one HTML page, which needs no network."""
    cells = {(cell.one, cell.other): cell for cell in atlas.cells}
    both = cells | {(other, one): cell for (one, other), cell in cells.items()}
    return _template().render(
        version=__version__,
        atlas=atlas,
        cells=both,
        orders=[order for order in Order if order is not Order.UNTRIED],
        counts=Counter(cell.order for cell in atlas.cells),
        telling=[cell for cell in atlas.cells if cell.order not in _PLAIN],
        order_text=order_text,
        known_text=label,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("kvmprobe.reports", "atlas_page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("atlas.html.j2")


def changed_lines(before: Atlas, after: Atlas) -> Iterator[str]:
    """Yield the pairs whose order does something else on another kernel."""
    old = {cell.name: cell for cell in before.cells}
    new = {cell.name: cell for cell in after.cells}
    yield from (f"only in one atlas: {name}" for name in sorted(old.keys() ^ new.keys()))
    for name, cell in new.items():
        was = old.get(name, cell)
        if _told(was) != _told(cell):
            yield f"{before.kernel}: {was.order.sign} {cell_text(was, before.kernel)}"
            yield f"{after.kernel}: {cell.order.sign} {cell_text(cell, after.kernel)}"


def _told(cell: Cell) -> tuple[object, ...]:
    results = tuple((each.results, bool(each.crash)) for each in cell.orders)
    return cell.order, cell.start, results, cell.differs
