"""Which scenarios the order checker holds against each other; for a run that goes on later."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

    Order = tuple[int, ...]


def companions(remaining: Sequence[Scenario], others: Sequence[Scenario]) -> list[Scenario]:
    """Return those of the others whose order of ops is one swap away from a remaining one's."""
    numbers: dict[Op, int] = {}

    def order(scenario: Scenario) -> Order:
        return tuple(numbers.setdefault(step.op, len(numbers)) for step in scenario.steps)

    sought = {swapped for scenario in remaining for swapped in _swapped(order(scenario))}
    return [scenario for scenario in others if order(scenario) in sought]


def _swapped(order: Order) -> Iterator[Order]:
    for place in range(len(order) - 1):
        first, second = order[place : place + 2]
        if first != second:
            yield (*order[:place], second, first, *order[place + 2 :])
