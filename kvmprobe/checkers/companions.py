"""Which recorded scenarios a resumed run repeats, so that the order checker can compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

    Order = tuple[int, ...]


def companions(remaining: Sequence[Scenario], others: Sequence[Scenario]) -> list[Scenario]:
    """Return the other scenarios whose ops differ from those of a remaining one by one swap."""
    numbers: dict[Op, int] = {}

    def order(scenario: Scenario) -> Order:
        return tuple(numbers.setdefault(step.op, len(numbers)) for step in scenario.steps)

    swapped = {other for scenario in remaining for other in _swapped(order(scenario))}
    return [scenario for scenario in others if order(scenario) in swapped]


def _swapped(order: Order) -> Iterator[Order]:
    for place in range(len(order) - 1):
        first, second = order[place : place + 2]
        if first != second:
            yield (*order[:place], second, first, *order[place + 2 :])
