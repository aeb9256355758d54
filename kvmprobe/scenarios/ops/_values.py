"""Fields of ops that JSON cannot keep as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Pairs = tuple[tuple[int, int], ...]


def pairs(values: Iterable[Iterable[int]]) -> Pairs:
    """Return (index, value) pairs as tuples, which JSON made lists."""
    return tuple((index, value) for index, value in values)
