"""Values that occur again are written once."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Numbers for values, in the order of their first use."""

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}

    def number(self, value: T) -> int:
        """Return the value's number; equal values have the same."""
        return self._numbers.setdefault(value, len(self._numbers))

    @property
    def values(self) -> list[T]:
        """The values by number."""
        return list(self._numbers)
