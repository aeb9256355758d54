"""A matrix of moves as one HTML page, which needs neither network nor script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from kvmprobe.reports.move_matrix import LEGEND, counts, fate_text, hosts_of, signs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.moves.cells import Cell

_STYLE = (
    "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}"
    "td,th{border:1px solid #999;padding:.4em .7em;vertical-align:top;text-align:left}"
    "summary{font-family:monospace;white-space:pre;cursor:pointer}"
    ".odd{background:#fdd}li{margin:.2em 0}"
)


def matrix_page(cells: Sequence[Cell], orders: Sequence[str]) -> str:
    """Return the page: rows are sources, columns are targets; a click on a cell lists its moves."""
    hosts = hosts_of(cells)
    head = "".join(f"<th>{escape(host)}</th>" for host in hosts)
    rows = "".join(_row(cells, source, hosts, orders) for source in hosts)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Moves of guests</title>'
        f"<style>{_STYLE}</style><h1>Moves of guests</h1>"
        f"<p>{escape(counts(cells))}<p>Orders, from left to right: {escape(', '.join(orders))}"
        f"<p>{escape(LEGEND)}<table><tr><th>from \\ to</th>{head}</tr>{rows}</table></html>\n"
    )


def _row(cells: Sequence[Cell], source: str, hosts: Sequence[str], orders: Sequence[str]) -> str:
    columns = (_place(cells, source, target, orders) for target in hosts)
    return f"<tr><th>{escape(source)}</th>{''.join(columns)}</tr>"


def _place(cells: Sequence[Cell], source: str, target: str, orders: Sequence[str]) -> str:
    here = [cell for cell in cells if (cell.source, cell.target) == (source, target)]
    odd = "" if all(cell.is_as_predicted for cell in here) else ' class="odd"'
    shown = escape(signs(cells, source, target, orders))
    return f"<td{odd}><details><summary>{shown}</summary><ul>{''.join(_items(here))}</ul></details>"


def _items(cells: Sequence[Cell]) -> Iterator[str]:
    for cell in cells:
        yield f"<li>{escape(f'{cell.order}, {cell.use}: {fate_text(cell)}')}</li>"
