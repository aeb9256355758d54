"""Comparing two images by component."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.xstate.layout import Layout


_GAP = 8


@dataclass(frozen=True, slots=True)
class Difference:
    """Differing bytes in one field or component; ``offset`` is from the start of the image."""

    where: str
    offset: int
    expected: bytes
    observed: bytes


@dataclass(frozen=True, slots=True)
class DifferingRegion:
    """A field or component that differs; offsets are from the start of the image, in bytes.

    :ivar runs: (offset, size) of each differing range, ascending
    """

    name: str
    offset: int
    size: int
    runs: tuple[tuple[int, int], ...]


def differing_regions(
    expected: bytes, observed: bytes, layout: Layout
) -> tuple[DifferingRegion, ...]:
    """Return the differing ranges of two images of the same size, for a picture.

    Ranges less than eight bytes apart are joined, since patterns have zero bytes as well.
    """
    return tuple(
        DifferingRegion(name, span.start, len(span), _runs(offsets))
        for name, span, offsets in _by_region(expected, observed, layout)
    )


def _runs(offsets: list[int]) -> tuple[tuple[int, int], ...]:
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if runs and offset - sum(runs[-1]) < _GAP:
            runs[-1] = (runs[-1][0], offset + 1 - runs[-1][0])
        else:
            runs.append((offset, 1))
    return tuple(runs)


def differences(expected: bytes, observed: bytes, layout: Layout) -> tuple[Difference, ...]:
    """Return the differing bytes of each component, from its first to its last difference.

    Both images have the same size.
    """
    return tuple(
        Difference(name, at[0], expected[at[0] : at[-1] + 1], observed[at[0] : at[-1] + 1])
        for name, _, at in _by_region(expected, observed, layout)
    )


def _by_region(
    expected: bytes, observed: bytes, layout: Layout
) -> Iterator[tuple[str, range, list[int]]]:
    """Yield each field or component that differs, with the differing offsets."""
    offsets = _differing(expected, observed)
    first = 0
    while first < len(offsets):
        name, span = layout.region_of(offsets[first], len(expected))
        last = bisect_left(offsets, span.stop, first)
        yield name, span, offsets[first:last]
        first = last


def _differing(expected: bytes, observed: bytes) -> list[int]:
    if expected == observed:
        return []
    chunk = 64
    offsets: list[int] = []
    for start in range(0, len(expected), chunk):
        left, right = expected[start : start + chunk], observed[start : start + chunk]
        if left != right:
            offsets += [start + i for i in range(len(left)) if left[i] != right[i]]
    return offsets
