"""Curves in a picture: axes, and where each point lies.  Pure; the template draws it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# In units of the picture, which is about as wide as the narrowest screen.
WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 340, 24, 184
_TICKS = 5
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Curve:
    """What is drawn.

    :ivar style: number of its colour and dashes
    :ivar points: ascending
    :ivar level: of a horizontal line, which has no points
    """

    style: int
    name: str
    points: tuple[tuple[float, float], ...]
    level: float | None = None

    @property
    def heights(self) -> list[float]:
        """All its values."""
        return [y for _, y in self.points] if self.level is None else [self.level]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis.

    :ivar at: its place in the picture
    """

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Curves and axes.

    :ivar title: what they show
    :ivar across: what the horizontal axis counts
    :ivar lines: style and corners of each curve, as in an SVG polyline
    :ivar words: the same as a sentence
    """

    title: str
    across: str
    across_ticks: tuple[Tick, ...]
    up_ticks: tuple[Tick, ...]
    lines: tuple[tuple[int, str], ...]
    words: str


@dataclass(frozen=True, slots=True)
class _Axis:
    """A scale from one place in the picture to another."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        part = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> tuple[Tick, ...]:
        step = _step(self.high - self.low)
        numbers = range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        return tuple(Tick(self.at(n * step), f"{n * step:.10g}") for n in numbers)


def picture(title: str, across: str, curves: Sequence[Curve]) -> Picture:
    """Draw curves; the vertical axis begins at 0 unless all is in the upper half.

    :param title: what they show
    :param across: what the horizontal axis counts
    """
    heights = [height for curve in curves for height in curve.heights]
    least, most = min(heights, default=0.0), max(heights, default=0.0)
    up = _Axis(*_range(least if least > most / 2 else min(least, 0.0), most), BOTTOM, TOP)
    farthest = max((x for curve in curves for x, _ in curve.points), default=0.0)
    wide = _Axis(0.0, farthest or 1.0, LEFT, RIGHT)
    lines = tuple((curve.style, _corners(curve, wide, up)) for curve in curves)
    ends = "; ".join(f"{curve.name}: {curve.heights[-1]:.10g}" for curve in curves)
    words = f"{title} by {across}; at the end {ends}"
    return Picture(title, across, wide.ticks(), up.ticks(), lines, words)


def _corners(curve: Curve, wide: _Axis, up: _Axis) -> str:
    if curve.level is not None:
        y = up.at(curve.level)
        return _text([(LEFT, y), (RIGHT, y)])
    return _text((wide.at(x), up.at(y)) for x, y in curve.points)


def _text(corners: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)


def _range(low: float, high: float) -> tuple[float, float]:
    """Return a range with these values whose ends are marks."""
    step = _step(high - low)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def _step(span: float) -> float:
    """Return a round distance for about five marks."""
    rough = (span or 1.0) / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(step * unit for step in _STEPS if step * unit >= rough)
