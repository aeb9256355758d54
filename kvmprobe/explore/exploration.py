"""Judges what the machines of a systematic search did, and keeps the shortest of each failure."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.explore.readings import differing
from kvmprobe.model.outcome import Done, OneOf
from kvmprobe.results.verdict import Verdict
from kvmprobe.search.explored import Explored, Level
from kvmprobe.search.graph import scenario_of
from kvmprobe.search.signature import Explained, Signature, signatures_of

READS_OTHERWISE = "a state that the model calls equal reads as after other calls"

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.execution.judging import Judging
    from kvmprobe.explore.visits import Visit
    from kvmprobe.model.outcome import Outcome
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.trace import Reply
    from kvmprobe.scenarios.scenario import Scenario
    from kvmprobe.search.graph import Edge, Graph, Node, Part


@dataclass(slots=True)
class Failure:
    """A failure, and the shortest sequence of calls that showed it.

    :ivar known: ids of the known defects that explain it
    :ivar transitions: how many transitions show it
    """

    signature: Signature
    scenario: Scenario
    known: tuple[str, ...]
    transitions: int = 0


class Exploration:
    """What has been seen of a graph on one kernel.

    :ivar failures: by what identifies them: the known defects, or the signature
    """

    def __init__(self, graph: Graph, part: Part, judging: Judging, progress: Progress) -> None:
        self.failures: dict[object, Failure] = {}
        self._graph = graph
        self._part = part
        self._judging = judging
        self._progress = progress
        self._seconds = 0.0
        self._machines = 0
        self._crashes = 0
        self._behind_crash = 0
        self._complete = False
        self._made: set[int] = set()
        self._last_made: dict[int, float] = {}
        self._reads: dict[int, tuple[Reply, ...]] = {}
        self._open_states: set[int] = set()

    def watch(self, visits: Iterable[Visit], deadline: float) -> None:
        """Judge visits until there are no more, or the deadline has passed.

        :param deadline: monotonic time, seconds
        """
        started, total = time.monotonic(), sum(map(len, self._edges_of_levels()))
        for visit in visits:
            self._judge(visit)
            now = time.monotonic()
            self._seconds = now - started
            entry = (visit.node.entry,) if visit.node.entry else ()
            for edge in (*entry, *visit.edges):
                if self._part.makes(edge) and id(edge) not in self._made:
                    self._made.add(id(edge))
                    self._last_made[edge.source.depth] = self._seconds
            self._progress.advance(len(self._made), total)
            if now > deadline:
                return
        self._complete = True

    def _edges_of_levels(self) -> list[list[Edge]]:
        levels, makes = self._graph.levels[:-1], self._part.makes
        return [[e for node in nodes for e in node.edges if makes(e)] for nodes in levels]

    def _judge(self, visit: Visit) -> None:
        self._machines += 1
        self._crashes += visit.crash is not None
        scenario = replace(visit.scenario, id="explore")
        record = self._judging.alone(scenario, visit.trace, visit.crash)
        if record.known:
            found = signatures_of(record, Explained.BY_NOTHING)
            self._fail(record.known, found[0], record.known, visit, record)
        for signature in signatures_of(record, Explained.BY_KNOWN_DEFECTS):
            self._fail(signature, signature, (), visit, record)
        if visit.entered is not None and record.verdict is Verdict.PASS:
            self._compare(visit.entered, visit, scenario, record)

    def _compare(
        self, node: Node, visit: Visit, scenario: Scenario, record: ScenarioRecord
    ) -> None:
        """Compare how a state reads with how it read after other calls.

        The model has judged both.  What it leaves open may differ; what it does not look at, such
        as most of SREGS, may not.
        """
        count = len(scenario.steps[-1].ops) - bool(visit.edges)
        ops = scenario.steps[-1].ops[-count:]
        replies = visit.trace.steps[-1].replies[-count:]
        before = self._reads.setdefault(node.number, replies)
        if before == replies:
            return
        walked = self._judging.model_runs.with_defects().walked(scenario)
        expected = {op: known.step.outcome for op, known in zip(ops, walked[-count:], strict=True)}
        if any(map(_is_open, expected.values())):
            self._open_states.add(node.number)
        for op in differing(ops, before, replies, self._judging.host):
            if not _is_open(expected[op]):
                signature = Signature("finding", READS_OTHERWISE, (op.interface,))
                self._fail(signature, signature, (), visit, record)

    def _fail(
        self,
        key: object,
        signature: Signature,
        known: tuple[str, ...],
        visit: Visit,
        record: ScenarioRecord,
    ) -> None:
        scenario = _shortest(visit, record)
        found = self.failures.setdefault(key, Failure(signature, scenario, known))
        # Another part counts what this one only passes on the way to its own.
        found.transitions += not visit.edges or any(map(self._part.makes, visit.edges))
        if len(scenario.steps) < len(found.scenario.steps):
            found.scenario = scenario

    def explored(self, kernel: str, start: str) -> Explored:
        """Return what has been seen, without the finds."""
        edges = self._edges_of_levels()
        levels = tuple(
            Level(
                depth,
                sum(map(self._part.has, self._graph.levels[depth])),
                len(at),
                sum(id(edge) in self._made for edge in at),
                self._last_made.get(depth, 0.0),
            )
            for depth, at in enumerate(edges)
        )
        left = sum(level.transitions - level.made for level in levels)
        return Explored(
            kernel=kernel,
            start=start,
            part=self._part.number,
            parts=self._part.of,
            calls=tuple(op.text for op in self._graph.calls),
            levels=levels,
            never={op.text: why for op, why in self._graph.never().items()},
            open_states=len(self._open_states),
            behind_crash=left if self._complete else 0,
            machines=self._machines,
            crashes=self._crashes,
            seconds=self._seconds,
            complete=self._complete,
        )


def _is_open(outcome: Outcome) -> bool:
    """Return True if more than one answer is legal."""
    match outcome:
        case Done(image=image, memory=memory):
            parts = (image, memory)
            return bool(outcome.open_fields) or any(p and p.unspecified for p in parts)
        case OneOf():
            return True
        case _:
            return False


def _shortest(visit: Visit, record: ScenarioRecord) -> Scenario:
    """Return the calls that lead to the state, and the step that shows the failure.

    It may not show it alone, since a machine makes several transitions that change nothing.
    """
    steps = [step.ops for step in visit.scenario.steps]
    shown = [d.step for d in record.divergences] + [f.step for f in record.findings]
    last = record.crash.step if record.crash else min(shown, default=len(steps) - 1)
    return scenario_of("explore", steps[: last + 1])
