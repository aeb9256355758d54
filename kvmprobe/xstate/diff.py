"""Where two images differ, by component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmprobe.xstate.layout import Layout


@dataclass(frozen=True, slots=True)
class Difference:
    """A run of differing bytes within one field or component; offsets from the image's start."""

    where: str
    offset: int
    expected: bytes
    observed: bytes


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
