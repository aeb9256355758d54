"""The page's section on searches: what they reached, beside other runs on the same kernel.

The blocks of two runs are compared only if both have the same kernel and the same list of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.reports.html_report.picture import Curve, Picture, picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvmprobe.reports.html_report.coverage import Covered
    from kvmprobe.results.growth import Growth, Point
    from kvmprobe.results.record import Target
    from kvmprobe.results.run_document import RunDocument

    Quantity = Callable[[Point], float]

_MINUTE = 60.0
_LONG = 5 * _MINUTE


@dataclass(frozen=True, slots=True)
class Side:
    """What one run reached of a kernel.

    :ivar how: how its sequences or scenarios were chosen
    :ivar last: the last point of a search; None for another run
    :ivar reached: a set of blocks; None if it was not measured, or cannot be compared
    :ivar only_here: how many of them no other run reached
    """

    name: str
    how: str
    scenarios: int
    growth: Growth | None
    reached: int | None
    only_here: int = 0

    @property
    def last(self) -> Point | None:
        """What a search had reached at its end; None for another run."""
        return self.growth.points[-1] if self.growth else None

    @property
    def blocks(self) -> int | None:
        """How many blocks it reached, if that can be compared."""
        return None if self.reached is None else self.reached.bit_count()


@dataclass(frozen=True, slots=True)
class KernelGrowth:
    """The searches on one kernel, and other runs with coverage of it.

    :ivar total: number of the kernel's blocks; 0 if no search has measured coverage
    :ivar by_any: how many at least one run reached
    :ivar by_all: how many each run reached that has measured coverage
    :ivar apart: names of runs whose blocks are in another list
    """

    label: str
    sides: tuple[Side, ...]
    pictures: tuple[Picture, ...]
    total: int
    by_any: int
    by_all: int
    apart: tuple[str, ...]


def growths(runs: Sequence[RunDocument], covered: Sequence[Covered]) -> list[KernelGrowth]:
    """Return the searches among some runs, by kernel."""
    targets = dict.fromkeys(target for run in runs for target in run.growth)
    return [_on(target, runs, covered) for target in targets]


def _on(target: Target, runs: Sequence[RunDocument], covered: Sequence[Covered]) -> KernelGrowth:
    here = [each for each in covered if each.target == target]
    searches = [each for each in here if target in each.run.growth]
    first = searches[0].measured if searches else None
    alike = [each for each in here if first and each.measured.has_blocks_of(first)]
    sides = list(_sides(target, runs, alike))
    sets = [side.reached for side in sides if side.reached is not None]
    by_any, by_all = 0, -1
    for reached in sets:
        by_any, by_all = by_any | reached, by_all & reached
    return KernelGrowth(
        target.description,
        tuple(sides),
        tuple(_pictures(sides)),
        len(first.blocks) if first else 0,
        by_any.bit_count(),
        by_all.bit_count() if sets else 0,
        tuple(each.run.name for each in here if each not in alike),
    )


def _sides(
    target: Target, runs: Sequence[RunDocument], covered: Sequence[Covered]
) -> Iterator[Side]:
    for run in runs:
        own = next((each.measured.reached for each in covered if each.run is run), None)
        growth = run.growth.get(target)
        if growth is None and own is None:
            continue
        others = 0
        for each in covered:
            others |= 0 if each.run is run else each.measured.reached
        yield Side(
            run.name,
            f"{growth.strategy.value} search" if growth else "scenarios",
            sum(record.target == target for record in run.records),
            growth,
            own,
            ((own or 0) & ~others).bit_count(),
        )


def _pictures(sides: Sequence[Side]) -> Iterator[Picture]:
    """Yield what was reached over time and over sequences: blocks if measured, transitions."""
    longest = max((side.last.seconds for side in sides if side.last), default=0.0)
    unit, name = (_MINUTE, "minutes") if longest >= _LONG else (1.0, "seconds")
    spent: list[tuple[str, Quantity]] = [
        (name, lambda point: point.seconds / unit),
        ("sequences", lambda point: point.sequences),
    ]
    if any(side.reached is not None for side in sides):
        for words, of in spent:
            yield picture("blocks of the kernel", words, list(_of_blocks(sides, of)))
    for words, of in spent:
        yield picture("transitions of the model", words, list(_of_transitions(sides, of)))


def _of_blocks(sides: Sequence[Side], spent: Quantity) -> Iterator[Curve]:
    for style, side in enumerate(sides):
        if side.blocks is None:
            continue
        if side.growth:
            points = tuple((spent(point), point.blocks) for point in side.growth.points)
            yield Curve(style, f"{side.name}, {side.how}", points)
        else:
            yield Curve(style, f"{side.name}, {side.how}", (), level=side.blocks)


def _of_transitions(sides: Sequence[Side], spent: Quantity) -> Iterator[Curve]:
    for style, side in enumerate(sides):
        if side.growth:
            points = tuple((spent(point), point.transitions) for point in side.growth.points)
            yield Curve(style, f"{side.name}, {side.how}", points)
