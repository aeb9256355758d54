"""Which scenarios of the catalogue add coverage, for a run that has only some minutes.

``first.txt`` has them, each after those that add more; ``scripts/coverage_order`` makes it of runs
with ``--coverage``.  The kernel code that the others reach, these reach as well.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE = "first.txt"


@cache
def places() -> Mapping[str, int]:
    """Return the place of each scenario that adds coverage, by its id."""
    text = (files("kvmprobe.coverage") / FILE).read_text(encoding="utf-8")
    names = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: place for place, name in enumerate(names)}


def order(reached: Mapping[str, int]) -> Iterable[str]:
    """Yield the scenarios that add blocks, each time the one that adds most to those before.

    :param reached: the set of blocks of each scenario, bit N for block N
    """
    left, seen = dict(reached), 0
    while left:
        name = max(left, key=lambda one: (left[one] & ~seen).bit_count())
        if not left[name] & ~seen:
            return
        yield name
        seen |= left.pop(name)
        left = {one: bits for one, bits in left.items() if bits & ~seen}
