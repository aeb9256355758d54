"""Makes the transitions of a graph on an emulated host, whose machine forks at each state.

The transitions of a state that change nothing are made on one fork, one after the other, with the
state read back after each, as long as it reads as before.  Each other transition has a fork of its
own: nothing is read before it, since reading has side effects.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.execution.driver import BranchEndedError, TraceLostError
from kvmprobe.explore.machines import TRIES, Beginning, Waiting, was_killed
from kvmprobe.results.trace import End, Trace
from kvmprobe.search.graph import Way, scenario_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from kvmprobe.execution.branch import Branch
    from kvmprobe.lab.place import EmulatedHost
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import Crash
    from kvmprobe.results.trace import TraceStep
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario
    from kvmprobe.search.graph import Edge, Graph, Node, Part

# Visits that wait for the reader.
_AHEAD = 256


@dataclass(frozen=True, slots=True)
class Visit:
    """What one machine did.

    :ivar node: the state that it was forked at
    :ivar edges: the transitions that it made from there, in order
    :ivar entered: the state that its last step read; None if the model knows none
    :ivar scenario: all its calls, those before the fork included
    """

    node: Node
    edges: tuple[Edge, ...]
    entered: Node | None
    scenario: Scenario
    trace: Trace
    crash: Crash | None = None


@dataclass(frozen=True, slots=True)
class _Task:
    """A state to enter by a transition, and the machine to fork for it."""

    node: Node
    edge: Edge | None
    above: Waiting | None


@dataclass(slots=True)
class _Made:
    """What a fork did.

    :ivar lost: why it ended in the middle of a step
    """

    branch: Branch
    steps: tuple[TraceStep, ...]
    lost: BranchEndedError | TraceLostError | None = None


class Explorer:
    """Makes a graph's transitions, depth first, in as many threads as the place has jobs.

    A part of them needs the way to all states from which more than one call is made.
    """

    def __init__(
        self,
        place: EmulatedHost,
        host: HostProfile,
        graph: Graph,
        part: Part,
        read_back: Sequence[Op],
    ) -> None:
        self._jobs = place.jobs
        self._graph = graph
        self._part = part
        self._read_back = tuple(read_back)
        later = (*graph.calls, *self._read_back)
        self._beginning = Beginning(place, host, graph.start, later)
        self._tasks: deque[_Task] = deque()
        self._busy = 0
        self._stopping = False
        self._changed = threading.Condition()
        self._visits: queue.Queue[Visit | BaseException | None] = queue.Queue(_AHEAD)

    def visits(self) -> Generator[Visit, None, None]:
        """Yield each visit; close the iterator to stop early.

        :raises LabError, BootFailed: no machine can be started or forked
        """
        self._tasks.append(_Task(self._graph.root, None, None))
        threads = [
            threading.Thread(target=self._serve, name=f"kvmprobe-explore-{number}")
            for number in range(self._jobs)
        ]
        for thread in threads:
            thread.start()
        try:
            running = len(threads)
            while running:
                visit = self._visits.get()
                if isinstance(visit, BaseException):
                    raise visit
                running -= visit is None
                if visit is not None:
                    yield visit
        finally:
            self._stop()
            while any(thread.is_alive() for thread in threads):
                self._discard()

    def _discard(self) -> None:
        """Make room for a thread that waits to hand in a visit."""
        try:
            self._visits.get(timeout=0.05)
        except queue.Empty:
            return

    def _stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _serve(self) -> None:
        try:
            while (task := self._next()) is not None:
                try:
                    self._enter(task)
                finally:
                    with self._changed:
                        self._busy -= 1
                        self._changed.notify_all()
        except BaseException as error:
            self._stop()
            self._visits.put(error)
        finally:
            self._release_all()
            self._visits.put(None)

    def _next(self) -> _Task | None:
        """Return the next state to enter; None if there will be none."""
        with self._changed:
            while not self._tasks and self._busy and not self._stopping:
                self._changed.wait()
            if self._stopping or not self._tasks:
                return None
            self._busy += 1
            return self._tasks.pop()

    def _release_all(self) -> None:
        """Give back the machines of the tasks that nobody takes any more."""
        while self._stopping and self._tasks:
            above = self._tasks.pop().above
            if above is not None:
                above.release()

    def _enter(self, task: _Task) -> None:
        """Enter a state, make its transitions, and leave the states behind it as tasks."""
        branch = self._entered(task)
        if branch is None:
            return
        # It has the need for the machine above from its task.
        here = Waiting(self._beginning, task.node.path, branch, task.above)
        try:
            if self._part.has(task.node):
                self._loops(here, task.node)
            inner = []
            for edge in task.node.by(Way.TREE, Way.JOIN, Way.OPEN):
                if self._stopping:
                    return
                if edge.way is Way.TREE and edge.target is not None and edge.target.edges:
                    inner.append(edge)
                elif self._part.makes(edge):
                    self._single(here, edge)
            here.need(len(inner))
            with self._changed:
                self._tasks.extend(_Task(e.target, e, here) for e in inner if e.target)
                self._changed.notify_all()
        finally:
            here.release()

    def _entered(self, task: _Task) -> Branch | None:
        """Return a machine that waits at the state; None if it ended on the way."""
        if task.above is None or task.edge is None:
            return self._beginning.branch(task.node.path)
        made = self._tried(task.above, (task.edge.op,))
        if made.lost is None:
            return made.branch
        made.branch.__exit__(None, None, None)
        self._hand_in(task.edge.source, (task.edge,), None, [(task.edge.op,)], made)
        task.above.release()
        return None

    def _tried(self, here: Waiting, step: Sequence[Op]) -> _Made:
        """Fork a machine and let it make one step; repeat if it is killed from outside."""
        for tries_left in reversed(range(TRIES)):
            branch = here.fork()
            try:
                branch.go_on(step)
            except (BranchEndedError, TraceLostError) as lost:
                if not (was_killed(lost) and tries_left):
                    return _Made(branch, branch.steps + lost.trace.steps, lost)
                branch.__exit__(None, None, None)
            else:
                return _Made(branch, branch.steps)
        raise AssertionError

    def _single(self, here: Waiting, edge: Edge) -> None:
        step = (edge.op, *self._read_back)
        made = self._tried(here, step)
        made.branch.__exit__(None, None, None)
        self._hand_in(edge.source, (edge,), edge.target, [step], made)

    def _loops(self, here: Waiting, node: Node) -> None:
        """Read the state; then make the transitions that change nothing."""
        left = deque(node.by(Way.LOOP))
        while not self._stopping:
            made = self._tried(here, self._read_back)
            edges = tuple(self._chain(made, left)) if made.lost is None else ()
            made.branch.__exit__(None, None, None)
            if was_killed(made.lost):
                left.extendleft(reversed(edges))
                continue
            steps = [self._read_back, *((edge.op, *self._read_back) for edge in edges)]
            self._hand_in(node, edges, node, steps, made)
            if not left:
                return

    def _chain(self, made: _Made, left: deque[Edge]) -> Iterator[Edge]:
        """Make transitions while the state reads as before; yield those that were begun."""
        reads = made.steps[-1].replies
        while left:
            edge = left.popleft()
            yield edge
            try:
                made.steps += made.branch.go_on((edge.op, *self._read_back))
            except (BranchEndedError, TraceLostError) as lost:
                made.lost = lost
                made.steps += lost.trace.steps
                return
            if made.steps[-1].replies[1:] != reads:
                return

    def _hand_in(
        self,
        node: Node,
        edges: tuple[Edge, ...],
        entered: Node | None,
        steps: Sequence[Sequence[Op]],
        made: _Made,
    ) -> None:
        before = [(op,) for op in (*self._beginning.calls, *node.path)]
        lost = made.lost
        crash = lost.crash if isinstance(lost, TraceLostError) else None
        end, note = (lost.trace.end, lost.trace.end_note) if lost else (End.DONE, "")
        scenario = scenario_of("explore", [*before, *steps])
        trace = Trace(made.steps, end, note)
        self._visits.put(Visit(node, edges, None if lost else entered, scenario, trace, crash))
