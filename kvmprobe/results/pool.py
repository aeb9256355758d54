"""Numbers for values, so that repeated values are written once."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Numbers values in the order of their first use."""

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}

    def number(self, value: T) -> int:
        """Return the number of a value; equal values have the same number."""
        return self._numbers.setdefault(value, len(self._numbers))

    @property
    def values(self) -> list[T]:
        """The values, by number."""
        return list(self._numbers)
