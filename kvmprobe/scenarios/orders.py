"""Orders of restore calls."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def with_one_more(order: Sequence[str], name: str) -> Iterator[tuple[str, ...]]:
    """Yield ``order`` with ``name`` at each possible place, from first to last."""
    for place in range(len(order) + 1):
        yield (*order[:place], name, *order[place:])


def restore_orders(calls: Sequence[str], anchor: str) -> tuple[tuple[str, ...], ...]:
    """Return every order of ``calls``, each with ``anchor`` at every place and without it."""
    found: list[tuple[str, ...]] = []
    for order in permutations(sorted(calls)):
        found += with_one_more(order, anchor)
        found.append(order)
    return tuple(found)
