"""Compares two orders of the same calls: an order may fail, but may not silently change the state.

Two scenarios are compared if they make the same calls with two neighbours swapped.  If each call
returned the same in both and the state read back afterwards differs, then the order mattered and no
error showed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.checkers.event import written_image
from kvmprobe.checkers.legal_orders import ignored_without_feature, last_writer, legal
from kvmprobe.checkers.normal import normal_image
from kvmprobe.checkers.observed import ALL_IMAGES
from kvmprobe.checkers.stability import images_differ, values_differ
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import ResultDiffers
from kvmprobe.results.record import Finding, ReadingsDiffer, Statement
from kvmprobe.scenarios.calls import Ioctl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.checkers.event import Lowered
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.trace import Reply, Trace
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario


@dataclass(frozen=True, slots=True)
class ReadBack:
    """The replies of the observers of one step.

    :ivar loaded: the guest's FPU state was loaded before
    """

    step: int
    observers: tuple[Op, ...]
    replies: tuple[Reply, ...]
    loaded: bool


@dataclass(slots=True)
class _Run:
    scenario_id: str
    results: tuple[int, ...]
    read_backs: tuple[ReadBack, ...]
    known: tuple[str, ...]


class Orders:
    """The runs of one kernel so far, by the order of their calls."""

    def __init__(self, host: HostProfile, lowered: Lowered) -> None:
        self._host = host
        self._lowered = lowered
        self._numbers: dict[Op, int] = {}
        self._ops: list[Op] = []
        self._runs: dict[tuple[int, ...], list[_Run]] = {}
        self._outputs: dict[bytes, bytes] = {}
        self._found: dict[str, tuple[Finding, ...]] = {}

    def compare(
        self, scenario: Scenario, trace: Trace, known: tuple[str, ...]
    ) -> tuple[Finding, ...]:
        """Compare a run with each earlier run whose order differs by one swap."""
        earlier = self._found.get(scenario.id)
        if earlier is not None:
            return earlier
        order = tuple(self._number(step.op) for step in scenario.steps)
        run = self._run(scenario, trace, known)
        self._runs.setdefault(order, []).append(run)
        found = tuple(self._findings(order, run))
        self._found[scenario.id] = found
        return found

    def _number(self, op: Op) -> int:
        number = self._numbers.get(op)
        if number is None:
            number = self._numbers[op] = len(self._ops)
            self._ops.append(op)
        return number

    def _run(self, scenario: Scenario, trace: Trace, known: tuple[str, ...]) -> _Run:
        results: list[int] = []
        before_load: ReadBack | None = None
        last: ReadBack | None = None
        loaded = False
        for number, (step, seen) in enumerate(zip(scenario.steps, trace.steps, strict=False)):
            made = self._lowered.call(step.op)
            result = seen.replies[0].result
            call = made.call
            binds = (isinstance(call, Ioctl) and call.binds) or made.name == "OpenKvm"
            results.append(0 if binds and result > 0 else result)
            if made.name in {"RunVcpu", "RunGuest"}:
                before_load = before_load or last
                loaded = True
            if step.observers:
                last = ReadBack(number, step.observers, self._interned(seen.replies[1:]), loaded)
        read_backs = tuple(r for r in (before_load, last) if r is not None)
        return _Run(scenario.id, tuple(results), read_backs, known)

    def _interned(self, replies: Sequence[Reply]) -> tuple[Reply, ...]:
        """Store each distinct output once: most scenarios end in the same few states."""
        interned = []
        for reply in replies:
            output = reply.output
            if output is not None:
                output = self._outputs.setdefault(output, output)
            interned.append(type(reply)(reply.result, output))
        return tuple(interned)

    def _findings(self, order: tuple[int, ...], run: _Run) -> Iterator[Finding]:
        for place in range(len(order) - 1):
            first, second = order[place], order[place + 1]
            if first == second:
                continue
            swapped = (*order[:place], second, first, *order[place + 2 :])
            others = self._runs.get(swapped)
            if others is None or not self._may_matter(order, place):
                continue
            for other in others:
                yield from self._compared(place, run, other, (self._ops[first], self._ops[second]))

    def _may_matter(self, order: Sequence[int], place: int) -> bool:
        calls = [self._lowered.call(self._ops[number]) for number in order[: place + 2]]
        *prefix, first, second = calls
        if last_writer(first, second) or ignored_without_feature(self._host, first, second):
            return False
        return not legal(prefix, first, second)

    def _compared(
        self, place: int, run: _Run, other: _Run, ops: tuple[Op, Op]
    ) -> Iterator[Finding]:
        both = _common(place, run.read_backs, other.read_backs)
        if both is None:
            return
        here, there = both
        count = here.step + 1
        mine, theirs = list(run.results[:count]), list(other.results[:count])
        mine[place], mine[place + 1] = mine[place + 1], mine[place]
        if mine != theirs:
            return
        details = tuple(self._differences(here, there))
        if details:
            both_ops = tuple(sorted(ops, key=lambda op: op.text))
            known = tuple(dict.fromkeys((*run.known, *other.known)))
            yield Finding(
                "order-independence",
                "INV-37",
                here.step,
                Statement(Claim.ORDER_MATTERS, {}, both_ops),
                details,
                other=other.scenario_id,
                known=known,
            )

    def _differences(self, here: ReadBack, there: ReadBack) -> Iterator[Statement | ReadingsDiffer]:
        for op, mine, theirs in zip(here.observers, here.replies, there.replies, strict=True):
            if mine.result != theirs.result:
                yield ReadingsDiffer(op, ResultDiffers(mine.result, theirs.result))
                continue
            if mine.result < 0 or mine.output is None or theirs.output is None:
                continue
            name = self._lowered.call(op).name
            if name in ALL_IMAGES:
                yield from self._image_differences(op, here, mine.output, theirs.output)
            elif mine.output != theirs.output and not (here.loaded and name == "KVM_GET_FPU"):
                yield from values_differ(op, mine.output, theirs.output)

    def _image_differences(
        self,
        op: Op,
        here: ReadBack,
        mine: bytes,
        theirs: bytes,
    ) -> tuple[Statement | ReadingsDiffer, ...]:
        first, second = written_image(mine, self._host), written_image(theirs, self._host)
        if here.loaded and len(first) == len(second):
            first, second = normal_image(first, second, self._host)
        return images_differ(op, first, second, self._host)


def _common(
    place: int, mine: Sequence[ReadBack], theirs: Sequence[ReadBack]
) -> tuple[ReadBack, ReadBack] | None:
    """Return the first read-backs after both calls, at the same place in both runs."""
    for here in mine:
        for there in theirs:
            same = (here.step, here.observers) == (there.step, there.observers)
            if same and here.step > place:
                return here, there
    return None
