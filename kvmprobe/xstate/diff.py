"""Where two images differ, by component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmprobe.xstate.layout import Layout


_PARTING = 8


@dataclass(frozen=True, slots=True)
class Difference:
    """A run of differing bytes within one field or component; offsets from the image's start."""

    where: str
    offset: int
    expected: bytes
    observed: bytes


@dataclass(frozen=True, slots=True)
class DifferingRegion:
    """A field or component in which two images differ; offsets from the image's start, in bytes.

    :ivar runs: (offset, size) of what differs, ascending
    """

    name: str
    offset: int
    size: int
    runs: tuple[tuple[int, int], ...]


def differing_regions(
    expected: bytes, observed: bytes, layout: Layout
) -> tuple[DifferingRegion, ...]:
    """Return where images of one length differ, to be drawn.

    Fewer than eight equal bytes do not part a run: patterns hold zeros, too.
    """
    regions: dict[tuple[str, range], list[tuple[int, int]]] = {}
    for offset in _differing(expected, observed):
        runs = regions.setdefault(layout.region_of(offset, len(expected)), [])
        if runs and offset - sum(runs[-1]) < _PARTING:
            runs[-1] = (runs[-1][0], offset + 1 - runs[-1][0])
        else:
            runs.append((offset, 1))
    return tuple(
        DifferingRegion(name, span.start, len(span), tuple(runs))
        for (name, span), runs in regions.items()
    )


def differences(expected: bytes, observed: bytes, layout: Layout) -> tuple[Difference, ...]:
    """Return the differing bytes, one entry a component, from its first to its last difference.

    Both images have the same length.
    """
    if expected == observed:
        return ()
    spans: dict[str, tuple[int, int]] = {}
    for offset in _differing(expected, observed):
        where = layout.name_of(offset)
        first, _ = spans.get(where, (offset, offset))
        spans[where] = (first, offset)
    return tuple(
        Difference(where, first, expected[first : last + 1], observed[first : last + 1])
        for where, (first, last) in spans.items()
    )


def _differing(expected: bytes, observed: bytes) -> list[int]:
    chunk = 64
    offsets: list[int] = []
    for start in range(0, len(expected), chunk):
        left, right = expected[start : start + chunk], observed[start : start + chunk]
        if left != right:
            offsets += [start + i for i in range(len(left)) if left[i] != right[i]]
    return offsets
