"""Which scenarios are compared: those that a resumed run repeats, those that run in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.scenarios.relations import base_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

    Order = tuple[int, ...]


def companions(remaining: Sequence[Scenario], others: Sequence[Scenario]) -> list[Scenario]:
    """Return the others that a remaining one is compared with.

    Their ops differ by one swap, or one of the two is derived from the other.
    """
    numbers: dict[Op, int] = {}

    def order(scenario: Scenario) -> Order:
        return tuple(numbers.setdefault(step.op, len(numbers)) for step in scenario.steps)

    originals = [scenario for scenario in remaining if scenario.derived is None]
    swapped = {other for scenario in originals for other in _swapped(order(scenario))}
    bases = {scenario.derived.base for scenario in remaining if scenario.derived}
    ids = {scenario.id for scenario in originals}

    def is_companion(other: Scenario) -> bool:
        if other.derived:
            return other.derived.base in ids
        return other.id in bases or order(other) in swapped

    return [scenario for scenario in others if is_companion(scenario)]


def compared(catalogue: Iterable[Scenario], ids: Iterable[str]) -> list[list[str]]:
    """Group scenarios so that each is compared with none of another group.

    Those with the same ops in any order are a group, with all that are derived from them.

    :param catalogue: of any host
    :param ids: of its scenarios and of derived ones; those of a group keep their order
    """
    numbers: dict[Op, int] = {}
    ops = {
        scenario.id: tuple(sorted(numbers.setdefault(s.op, len(numbers)) for s in scenario.steps))
        for scenario in catalogue
    }
    groups: dict[object, list[str]] = {}
    for name in ids:
        base = name if name in ops else base_id(name)
        groups.setdefault(ops.get(base, name), []).append(name)
    return list(groups.values())


def _swapped(order: Order) -> Iterator[Order]:
    for place in range(len(order) - 1):
        first, second = order[place : place + 2]
        if first != second:
            yield (*order[:place], second, first, *order[place + 2 :])
