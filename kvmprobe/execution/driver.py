"""Drives a worker over a link: sends scenarios in advance, and receives traces in order."""

from __future__ import annotations

import copy
import json
from collections import deque
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kvmprobe.abi.limits import ARENA_SIZE, MOST_CALLS
from kvmprobe.errors import WorkerError
from kvmprobe.execution.link import LinkLostError
from kvmprobe.execution.wire import bytes_from_wire, define
from kvmprobe.host.hung_tasks import Overrun
from kvmprobe.results.hang import hang_from_worker
from kvmprobe.results.trace import End, RegisterChange, Reply, Trace, TraceStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmprobe.execution.link import Link
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.hang import Hang, HungTask
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

# Position of the call, offset in an image, bytes before and after.
_Change = tuple[int, int, str, str]
_AHEAD = 16
_GRACE = 30.0
GARBLED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What reading a message raises that the protocol does not have: the worker's kernel wrote over it,
or somebody else answers."""


@dataclass(slots=True)
class _Defined:
    """A call that the worker knows.

    :ivar outputs: those that the worker reports by number
    """

    number: int
    outputs: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timing:
    """Deadlines in seconds: for one scenario, for a worker's greeting, and for each step."""

    scenario: float = 10.0
    start: float = 60.0
    step: float = float("inf")

    @property
    def of_step(self) -> float:
        """The deadline of a step, which is at most its scenario's."""
        return min(self.step, self.scenario)


@dataclass(frozen=True, slots=True)
class Request:
    """A scenario to run.

    :ivar gate: 1 to stop before a guest-FPU load that is fatal by the last read-back, else 0
    """

    scenario: Scenario
    gate: int


class TraceLostError(LinkLostError):
    """The link was lost during a scenario, by ``cause``; ``trace`` has the steps received.

    Also raised if a task of the scenario cannot be killed: the worker then runs nothing else.
    """

    def __init__(self, lost: LinkLostError, trace: Trace) -> None:
        super().__init__(str(lost), lost.crash, hung=lost.hung)
        self.cause = lost
        self.trace = trace

    @property
    def unkillable(self) -> tuple[HungTask, ...]:
        """The tasks that SIGKILL did not end."""
        return self.trace.hang.unkillable if self.trace.hang else ()


class BranchEndedError(WorkerError):
    """A scenario that should wait behind a step has ended; ``trace`` has the steps received."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(f"the scenario ended instead of waiting: {trace.end.value}")
        self.trace = trace


class Driver:
    """Speaks the worker's protocol over one link."""

    def __init__(self, link: Link, timing: Timing) -> None:
        self._link = link
        self._timing = timing
        self._defined: dict[Op, _Defined] = {}
        self._kept = 0
        self._held_steps = 0
        message = self._message(timing.start)
        try:
            ready = message["ready"]
            self.kernel_log_state = str(ready["kmsg"])
            self._taint = int(ready["taint"])
        except GARBLED as garbled:
            raise WorkerError(
                f"the worker's first line is not its greeting: {message!r:.200}"
            ) from garbled

    def facts(self) -> dict[str, Any]:
        """Return the worker's facts about CPU, kernel and KVM.

        :raises WorkerError: the probing child failed; the message has its traceback
        """
        self._link.send(f"facts {_milliseconds(self._timing.start)}")
        facts: dict[str, Any] = {}
        while "end" not in (message := self._message(self._timing.start + _GRACE)):
            if "broken" in message:
                raise WorkerError(f"probing failed:\n{message['traceback']}")
            facts = message.get("facts", facts)
        if not facts:
            raise WorkerError(f"probing ended without facts: {message!r:.200}")
        return facts

    def traces(
        self, requests: Iterable[Request], host: HostProfile
    ) -> Iterator[tuple[Request, Trace]]:
        """Run the scenarios; yield each with its trace, in order.

        :raises TraceLostError: the link was lost during the scenario after the last one yielded
        """
        waiting: deque[tuple[int, Request, list[list[_Defined]]]] = deque()
        for number, request in enumerate(requests):
            waiting.append((number, request, self._submit(number, request, host)))
            if len(waiting) == _AHEAD:
                yield self._await(*waiting.popleft())
        while waiting:
            yield self._await(*waiting.popleft())

    def hold(
        self, request: Request, later: Iterable[Op], host: HostProfile
    ) -> tuple[TraceStep, ...]:
        """Run a scenario whose process then waits; :meth:`go_on` runs further steps in it.

        :param later: all ops that further steps may have
        :raises BranchEndedError: it ended: a signal, a deadline, the gate, a mistake
        :raises TraceLostError: the link was lost
        """
        calls = [[self._define(op, host) for op in step.ops] for step in request.scenario.steps]
        for op in later:
            self._define(op, host)
        self._link.send(self._run_line("B", 0, request, calls))
        return self._held(calls)

    def go_on(self, steps: Sequence[Sequence[Op]]) -> tuple[TraceStep, ...]:
        """Run further steps in the process that waits; it waits again behind them.

        :raises KeyError: an op was not named when the process was started
        :raises BranchEndedError, TraceLostError: as for :meth:`hold`
        """
        calls = [[self._defined[op] for op in step] for step in steps]
        self._link.send(_words(calls))
        return self._held(calls)

    def on_fork(self, link: Link) -> Driver:
        """Return a driver of a fork of this one's machine, whose process waits as well."""
        other = copy.copy(self)
        other._link = link  # noqa: SLF001 - its own class
        other._defined = {  # noqa: SLF001
            op: _Defined(known.number, dict(known.outputs)) for op, known in self._defined.items()
        }
        return other

    def _held(self, calls: Sequence[Sequence[_Defined]]) -> tuple[TraceStep, ...]:
        before = self._held_steps
        steps, last, note = self._receive(0, [*[()] * before, *calls])
        if "end" in last:
            raise BranchEndedError(self._trace(steps, last, note))
        self._held_steps += len(steps)
        return steps

    def _submit(self, number: int, request: Request, host: HostProfile) -> list[list[_Defined]]:
        if self._is_full(request):
            self._forget()
        steps = [[self._define(op, host) for op in step.ops] for step in request.scenario.steps]
        self._link.send(self._run_line("R", number, request, steps))
        return steps

    def _run_line(
        self, word: str, number: int, request: Request, calls: Sequence[Sequence[_Defined]]
    ) -> str:
        deadlines = map(_milliseconds, (self._timing.scenario, self._timing.of_step))
        scenario = request.scenario
        beside = (scenario.registers, scenario.competition, scenario.placement)
        values = (number, request.gate, *beside, *deadlines)
        head = " ".join(f"{value:x}" for value in values)
        return f"{word} {head} {_words(calls)}"

    def _is_full(self, request: Request) -> bool:
        """Return True if the worker may have no room for the scenario's calls."""
        calls = sum(len(step.ops) for step in request.scenario.steps)
        return len(self._defined) + calls > MOST_CALLS or self._kept > ARENA_SIZE // 2

    def _forget(self) -> None:
        """Let the worker forget all calls."""
        self._defined = {}
        self._kept = 0
        self._link.send("X")

    def _define(self, op: Op, host: HostProfile) -> _Defined:
        known = self._defined.get(op)
        if known is None:
            known = self._defined[op] = _Defined(len(self._defined))
            definition = define(op.lower(host))
            self._kept += definition.size
            self._link.send(f"D {known.number:x} {definition.words}")
        return known

    def _await(
        self, number: int, request: Request, calls: Sequence[Sequence[_Defined]]
    ) -> tuple[Request, Trace]:
        steps, end, note = self._receive(number, calls)
        try:
            trace = replace(self._trace(steps, end, note), blocks=self._link.blocks_reached())
        except GARBLED as garbled:
            raise _lost(garbled, steps) from garbled
        if trace.hang and trace.hang.unkillable:
            raise TraceLostError(LinkLostError(trace.end_note, hung=True), trace)
        return request, trace

    def _receive(
        self, number: int, calls: Sequence[Sequence[_Defined]]
    ) -> tuple[tuple[TraceStep, ...], dict[str, Any], str]:
        """Return the steps of a scenario, the message that it ended or waits, and what broke it.

        :param calls: those of each step, by the step's number
        """
        steps: list[TraceStep] = []
        note = ""
        try:
            while "end" not in (message := self._message(self._timing.scenario + _GRACE)):
                if "broken" in message:
                    note = message["traceback"]
                elif "waiting" in message:
                    break
                elif message.get("n") == number:
                    steps.append(self._step(message, calls[message["s"]]))
        except LinkLostError as lost:
            seen = Trace(tuple(steps), End.LOST, str(lost), blocks=self._link.blocks_reached())
            raise TraceLostError(lost, seen) from lost
        except (WorkerError, *GARBLED) as garbled:
            raise _lost(garbled, tuple(steps)) from garbled
        return tuple(steps), message, note

    def _trace(self, steps: tuple[TraceStep, ...], end: dict[str, Any], note: str) -> Trace:
        new_taint = end["taint"] & ~self._taint if end["taint"] >= 0 else 0
        self._taint |= new_taint
        if steps and end["k"]:
            last = steps[-1]
            steps = (*steps[:-1], replace(last, kernel_log=(*last.kernel_log, *end["k"])))
        status = End(end["status"])
        hang: Hang | None = None
        if status is End.SIGNAL:
            note = f"killed by signal {end['signal']}"
        elif status is End.TIMEOUT:
            hang = hang_from_worker(end["hang"], end["k"])
            of_step = Overrun(end["hang"]["overrun"]) is Overrun.STEP
            what = f"step {len(steps)}" if of_step else "the scenario"
            note = hang.note(f"{what} did not end within {end['deadline']:g} s")
        last_log = tuple(end["k"]) if status in {End.SIGNAL, End.TIMEOUT} else ()
        return Trace(steps, status, note, end["microseconds"] / 1e6, new_taint, hang, last_log)

    def _step(self, message: dict[str, Any], calls: Sequence[_Defined]) -> TraceStep:
        replies = tuple(
            _reply(call, *values) for call, values in zip(calls, message["r"], strict=True)
        )
        replies = _with_changes(replies, message.get("h", ()), message.get("o", ()))
        return TraceStep(replies, tuple(message["k"]), message.get("w", 0))

    def _message(self, timeout: float) -> dict[str, Any]:
        line = self._link.receive(timeout)
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise WorkerError(f"the worker's line is not JSON: {line!r:.200}") from error
        if not isinstance(message, dict):
            raise WorkerError(f"the worker's line is not a JSON object: {line!r:.200}")
        return message


def _lost(garbled: Exception, steps: tuple[TraceStep, ...]) -> TraceLostError:
    """Return the error for a worker that says what the protocol does not have."""
    what = garbled if isinstance(garbled, WorkerError) else f"not in the protocol: {garbled!r:.200}"
    gone = LinkLostError(f"{what}")
    return TraceLostError(gone, Trace(steps, End.LOST, str(gone)))


def _reply(call: _Defined, result: int, number: int | None = None, new: str | None = None) -> Reply:
    if number is None:
        return Reply(result)
    if new is None:
        return Reply(result, call.outputs[number])
    output = _one_object(bytes_from_wire(new))
    if number:
        call.outputs[number] = output
    return Reply(result, output)


def _with_changes(
    replies: tuple[Reply, ...], own: Iterable[_Change], others: Iterable[_Change]
) -> tuple[Reply, ...]:
    """Return the replies with what changed in registers during each call.

    :param own: of the calling thread
    :param others: of the task that competes
    """
    found = list(replies)
    for change in own:
        reply = found[change[0]]
        found[change[0]] = replace(reply, changes=(*reply.changes, _decoded(change)))
    for change in others:
        reply = found[change[0]]
        changes = (*reply.other_changes, _decoded(change))
        found[change[0]] = replace(reply, other_changes=changes)
    return tuple(found)


def _decoded(change: _Change) -> RegisterChange:
    _, offset, expected, observed = change
    return RegisterChange(offset, bytes.fromhex(expected), bytes.fromhex(observed))


@lru_cache(maxsize=512)
def _one_object(output: bytes) -> bytes:
    """Return the same object for equal outputs, whichever worker sent them."""
    return output


def _words(calls: Sequence[Sequence[_Defined]]) -> str:
    """Return the calls of some steps as the worker reads them."""
    return "".join("".join(f"{call.number:x} " for call in step) + "; " for step in calls)


def _milliseconds(seconds: float) -> int:
    return max(round(seconds * 1000), 1)
