"""Where two images differ, by component."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
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
    found: list[Difference] = []
    for where, start, stop in _parts(layout, len(expected)):
        left, right = expected[start:stop], observed[start:stop]
        if left != right:
            unequal = [index for index in range(stop - start) if left[index] != right[index]]
            first, end = unequal[0], unequal[-1] + 1
            found.append(Difference(where, start + first, left[first:end], right[first:end]))
    return tuple(found)


@lru_cache(maxsize=64)
def _parts(layout: Layout, size: int) -> tuple[tuple[str, int, int], ...]:
    """Return name, first byte and end of each field, component and gap of an image."""
    names = [layout.name_of(offset) for offset in range(size)]
    starts = [offset for offset in range(size) if not offset or names[offset - 1] != names[offset]]
    return tuple(
        (names[start], start, end) for start, end in zip(starts, [*starts[1:], size], strict=True)
    )
