"""How a search grows: what it had done and reached at moments of its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# An hour of batches of three seconds has about 240 points.
_LATER = 1.03


class Strategy(Enum):
    """How a search chooses its sequences."""

    GUIDED = "guided"
    """New ones, and variations of those that reached something new."""
    UNGUIDED = "unguided"
    """New ones alone."""


@dataclass(frozen=True, slots=True)
class Point:
    """What a search had done and reached at one moment.

    :ivar seconds: time that it took, without its start and without reductions
    :ivar sequences: number of sequences that were judged, blind twins included
    :ivar calls: number of their calls
    :ivar transitions: number of different transitions of the model
    :ivar blocks: number of different basic blocks of the kernel; 0 if coverage was not measured
    """

    seconds: float
    sequences: int
    calls: int
    transitions: int
    blocks: int = 0


@dataclass(slots=True)
class Growth:
    """One search.

    :ivar points: ascending
    """

    strategy: Strategy
    points: list[Point] = field(default_factory=list)


class Growing:
    """Writes points of a search while it runs; the later it is, the farther apart they are."""

    def __init__(self, write: Callable[[Point], None]) -> None:
        """Prepare it.

        :param write: writes one point; what it raises, :meth:`take` and :meth:`end` raise
        """
        self._write = write
        self._written: Point | None = None
        self._last: Point | None = None

    def take(self, point: Point) -> None:
        """Take a later point; write it if enough time has passed since the last written one."""
        self._last = point
        if self._written is None or point.seconds >= self._written.seconds * _LATER:
            self._put(point)

    def end(self) -> None:
        """Write the last point, unless it is written."""
        if self._last is not None and self._last is not self._written:
            self._put(self._last)

    def _put(self, point: Point) -> None:
        self._write(point)
        self._written = point
