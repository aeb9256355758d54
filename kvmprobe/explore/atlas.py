"""Compares both orders of each pair of calls, as machines of an emulated host made them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from kvmprobe.checkers.event import Lowered
from kvmprobe.checkers.legal_orders import last_writer
from kvmprobe.explore.readings import differing
from kvmprobe.search.atlas import TELLING, Cell, OneOrder, Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmprobe.execution.judging import Judging
    from kvmprobe.explore.visits import Visit
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.trace import Reply
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario


@dataclass(frozen=True, slots=True)
class _Seen:
    """One order in one start.

    :ivar scenario: its calls, with the reads behind them
    """

    order: OneOrder
    reads: tuple[Reply, ...]
    record: ScenarioRecord
    scenario: Scenario


class Pairs:
    """The pairs of some calls.

    :ivar cells: what has been found of each pair, by both names; see :meth:`watch`
    :ivar scenarios: both orders of each pair whose order matters
    """

    def __init__(self, calls: Mapping[str, Op], judging: Judging) -> None:
        self.cells = {pair: Cell(*pair, Order.UNTRIED) for pair in combinations(calls, 2)}
        self.scenarios: dict[tuple[str, str], tuple[Scenario, ...]] = {}
        self._calls = calls
        self._names = {op: name for name, op in calls.items()}
        self._judging = judging
        self._lowered = Lowered(judging.host)

    def watch(self, start: str, reads: Sequence[Op], visits: Iterable[Visit]) -> None:
        """Take the visits of one start; larger starts come later.

        :param reads: what the machines read behind both calls
        """
        seen = {found.order: found for visit in visits for found in self._seen(visit, len(reads))}
        by_names = {(order.first, order.second): found for order, found in seen.items()}
        dead = {order.first: found for order, found in seen.items() if not order.second}
        for one, other in self.cells:
            first = by_names.get((one, other)) or dead.get(one)
            second = by_names.get((other, one)) or dead.get(other)
            if first and second:
                self._compare((one, other), start, reads, (first, second))

    def _seen(self, visit: Visit, reads: int) -> Iterator[_Seen]:
        for edge in visit.edges:
            first, second = [*map(self._names.__getitem__, (*visit.node.path, edge.op)), ""][:2]
            begun = len(visit.scenario.steps) - len(visit.node.path) - 1
            replies = [step.replies for step in visit.trace.steps[begun:]]
            crash = visit.crash.headline if visit.crash else ""
            ops = [step.op for step in visit.scenario.steps[begun:]]
            results = tuple(map(_result, ops, replies))
            record = self._judging.alone(
                replace(visit.scenario, id="pair"), visit.trace, visit.crash
            )
            last = replies[-1][-reads:] if replies and not crash else ()
            order = OneOrder(first, second, results, crash)
            yield _Seen(order, last, record, visit.scenario)

    def _compare(
        self,
        pair: tuple[str, str],
        start: str,
        reads: Sequence[Op],
        found: tuple[_Seen, _Seen],
    ) -> None:
        one, other = found
        differs = tuple(differing(reads, one.reads, other.reads, self._judging.host))
        order = self._order(pair, found, differs)
        before = self.cells[pair].order
        if before is not Order.UNTRIED and TELLING.index(order) >= TELLING.index(before):
            return
        known = {name for seen in found for name in _explaining(seen.record, differs)}
        shown = tuple(op.text for op in differs)
        orders = (one.order, other.order)
        self.cells[pair] = Cell(*pair, order, start, orders, shown, tuple(sorted(known)))
        if order is not Order.COMMUTES:
            self.scenarios[pair] = one.scenario, other.scenario

    def _order(
        self, pair: tuple[str, str], found: tuple[_Seen, _Seen], differs: tuple[Op, ...]
    ) -> Order:
        one, other = found
        if one.order.crash or other.order.crash:
            return Order.FATAL
        if one.order.results != other.order.results[::-1]:
            return Order.ANSWERS
        if not differs:
            return Order.COMMUTES
        first, second = (self._lowered.call(self._calls[name]) for name in pair)
        both_write = first.name == second.name or last_writer(first, second)
        return Order.LAST_WINS if both_write else Order.SILENT


def _result(op: Op, replies: Sequence[Reply]) -> int:
    """Return what a call returned; for a descriptor 0."""
    result = replies[0].result
    return min(result, 0) if op.binds else result


def _explaining(record: ScenarioRecord, differs: Iterable[Op]) -> tuple[str, ...]:
    """Return the known defects that explain a crash, or what these reads show."""
    shown = {divergence.call for divergence in record.divergences}
    return record.known if record.crash or not shown.isdisjoint(differs) else ()
