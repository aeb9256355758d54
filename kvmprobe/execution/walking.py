"""A walk of one guest through random hosts, in random orders: it must find all that it had."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from kvmprobe.errors import KvmprobeError
from kvmprobe.execution.driver import TraceLostError
from kvmprobe.judge.lockstep import agrees_along, answers
from kvmprobe.moves.causes import explained
from kvmprobe.moves.guests import guest, uses
from kvmprobe.moves.orders import Saved
from kvmprobe.moves.restoring import Into
from kvmprobe.moves.walking import next_uses, stop
from kvmprobe.results.trace import End
from kvmprobe.scenarios.model_run import ModelRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.execution.migrating import MovingHost
    from kvmprobe.moves.cells import MovedGuest
    from kvmprobe.moves.guests import Use
    from kvmprobe.progress import Progress
    from kvmprobe.results.difference import Difference
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.presets import Preset
    from kvmprobe.scenarios.scenario import Scenario
    from kvmprobe.xstate.cpuid import CpuidTable

_T = TypeVar("_T")
# Where a guest goes on in no order, it cannot walk.
_MOST_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a guest was, how it came there, and what it then did with its state."""

    host: str
    order: str
    into: Into
    use: Use


@dataclass(slots=True)
class Walk:
    """How far a guest came.

    :ivar stops: the moves that were made, with all that it had
    :ivar passed_over: moves that were drawn and not made, since the guest would not go on
    :ivar failure: why it did not go further; empty if it did
    :ivar difference: the call after which something was not as the model says, and what
    """

    start: str
    stops: list[Stop] = field(default_factory=list)
    passed_over: int = 0
    failure: str = ""
    difference: tuple[Op, Difference] | None = None

    @property
    def hosts(self) -> Counter[str]:
        """How often it came to each host."""
        return Counter(stop.host for stop in self.stops)

    @property
    def orders(self) -> Counter[str]:
        """How often it was restored in each order."""
        return Counter(stop.order for stop in self.stops)

    @property
    def intos(self) -> Counter[str]:
        """How often it came into a new vCPU, and into a used one."""
        return Counter(stop.into.value for stop in self.stops)


class Walker:
    """Draws the moves; the same hosts, orders and seed give the same walk."""

    def __init__(self, hosts: Sequence[MovingHost], orders: Sequence[Preset], seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._hosts = hosts
        self._orders = orders
        self._kept: dict[tuple[str, CpuidTable], Sequence[tuple[Preset, Use]]] = {}
        self._models = {host.name: ModelRun(host.profile) for host in hosts}

    def walk(self, steps: int, progress: Progress) -> Walk:
        """Save a guest on a random host, and move it so many times."""
        home = self._draw(self._hosts)
        order, use = self._draw(self._kept_by(home, home.profile.supported))
        started = home.save([order])[order.name, use]
        found = Walk(f"{home.name}, {use}")
        if isinstance(started, str):
            found.failure = started
            return found
        moved: MovedGuest | None = started
        while moved is not None and len(found.stops) < steps:
            progress.advance(len(found.stops), steps)
            moved = self._moved(moved, found)
        return found

    def _moved(self, moved: MovedGuest, found: Walk) -> MovedGuest | None:
        """Make one move; return the guest as it was saved after it, None if it failed."""
        for _ in range(_MOST_DRAWS):
            target, into = self._draw(self._hosts), self._draw(tuple(Into))
            sides = Saved(moved.host, moved.vcpu, target.profile)
            if explained(sides, moved.order, into):
                found.passed_over += 1
                continue
            possible = next_uses(moved.use)
            kept = self._kept_by(target, moved.guest.table)
            order, use = self._draw([one for one in kept if one[1] in possible])
            model = self._models[target.name]
            model.forget_if_large()
            try:
                scenario = stop(moved, model, into, order, use)
            except KvmprobeError as error:
                found.failure = f"{target.name}, {moved.order.name}: {error}"
                return None
            if scenario is None:
                found.failure = f"{target.name}, {moved.order.name}: compat says that it goes on"
                return None
            trace = self._ran(target, scenario, model, found)
            if trace is None:
                return None
            found.stops.append(Stop(target.name, moved.order.name, into, use))
            return target.moved(order, use, scenario, model, trace)
        found.failure = f"it goes on nowhere from {moved.source}, {moved.order.name}"
        return None

    def _kept_by(self, host: MovingHost, table: CpuidTable) -> Sequence[tuple[Preset, Use]]:
        """Return the orders, and the uses of a guest's state of which they lose nothing there."""
        key = host.name, table
        if key not in self._kept:
            profile = host.profile
            self._kept[key] = [
                (order, use)
                for order in self._orders
                for use in uses(table, order.states)
                if not explained(
                    Saved(profile, guest(profile, table, use), profile), order, Into.NEW
                )
            ]
        return self._kept[key]

    def _ran(
        self, target: MovingHost, scenario: Scenario, model: ModelRun, found: Walk
    ) -> Trace | None:
        [result] = target.run([scenario])
        where = f"{target.name}, {scenario.id}"
        if isinstance(result, TraceLostError):
            found.failure = f"{where}: {result}"
        elif result.end is not End.DONE:
            found.failure = f"{where}: {result.end_note}"
        elif not agrees_along(scenario, model, result):
            found.failure = f"{where}: something is not as the model says"
            found.difference = _first_difference(scenario, model, result)
        else:
            return result
        return None

    def _draw(self, values: Sequence[_T]) -> _T:
        return self._random.choice(values)


def _first_difference(
    scenario: Scenario, model: ModelRun, trace: Trace
) -> tuple[Op, Difference] | None:
    for calls in answers(scenario, model, trace):
        for call in calls:
            if call.difference is not None:
                return call.op, call.difference
    return None
