"""What a systematic search has seen: transitions, states that read otherwise, and failures."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kvmprobe.search.signature import Explained, Signature, signatures_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.execution.judging import Judging
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.trace import Reply
    from kvmprobe.scenarios.scenario import Scenario
    from kvmprobe.search.graph import Edge, Graph, Node
    from kvmprobe.search.visits import Visit


@dataclass(slots=True)
class Failure:
    """A failure, and the shortest sequence of calls that shows it.

    :ivar count: how many transitions show it
    """

    signature: Signature
    scenario: Scenario
    record: ScenarioRecord
    count: int = 1


@dataclass(frozen=True, slots=True)
class Level:
    """What has been made of the transitions that leave the states of one depth.

    :ivar transitions: how many there are
    :ivar made: how many were made
    :ivar seconds: from the beginning until the last of them was made
    """

    depth: int
    states: int
    transitions: int
    made: int
    seconds: float


@dataclass(slots=True)
class Exploration:
    """What has been seen of a graph on one kernel.

    :ivar failures: by signature; those that a known defect explains are not here
    :ivar known: transitions that show known defects, by the defects' ids
    :ivar open_bits: states that read differently after different calls, in bits that are legal
        either way
    :ivar seconds: how long it took so far
    """

    graph: Graph
    failures: dict[Signature, Failure] = field(default_factory=dict)
    known: Counter[tuple[str, ...]] = field(default_factory=Counter)
    open_bits: set[int] = field(default_factory=set)
    seconds: float = 0.0
    visits: int = 0
    crashes: int = 0
    _made: set[int] = field(default_factory=set)
    _ended: dict[int, float] = field(default_factory=dict)
    _reads: dict[int, tuple[Reply, ...]] = field(default_factory=dict)

    def watch(self, visits: Iterable[Visit], judging: Judging, deadline: float) -> None:
        """Judge visits until there are no more, or the deadline has passed.

        :param deadline: monotonic time, seconds
        """
        started = time.monotonic()
        for visit in visits:
            self._see(visit, judging)
            now = time.monotonic()
            self.seconds = now - started
            for edge in visit.edges:
                self._made.add(id(edge))
                self._ended[edge.source.depth] = self.seconds
            if now > deadline:
                return

    def _see(self, visit: Visit, judging: Judging) -> None:
        self.visits += 1
        self.crashes += visit.crash is not None
        scenario = replace(visit.scenario, id=f"explore.{self.visits}")
        record = judging.alone(scenario, visit.trace, visit.crash)
        if record.explained:
            self.known[record.known] += 1
        signatures = signatures_of(record, Explained.BY_KNOWN_DEFECTS)
        for signature in signatures:
            self._fail(signature, scenario, record)
        if visit.entered is not None:
            self._compare(visit.entered, visit)

    def _fail(self, signature: Signature, scenario: Scenario, record: ScenarioRecord) -> None:
        found = self.failures.get(signature)
        if found is None:
            self.failures[signature] = Failure(signature, scenario, record)
            return
        found.count += 1
        if len(scenario.steps) < len(found.scenario.steps):
            found.scenario, found.record = scenario, record

    def _compare(self, node: Node, visit: Visit) -> None:
        """Compare how a state reads with how it read before.

        Both agree with the model, or differ from it and are failures: what is left are open bits.
        """
        replies = visit.trace.steps[-1].replies
        reads = replies[1:] if visit.edges else replies
        if self._reads.setdefault(node.number, reads) != reads:
            self.open_bits.add(node.number)

    @property
    def levels(self) -> list[Level]:
        """What has been made at each depth that has transitions."""
        graph = self.graph
        found = []
        for depth, nodes in enumerate(graph.levels[:-1]):
            edges = [edge for node in nodes for edge in node.edges]
            made = sum(id(edge) in self._made for edge in edges)
            seconds = self._ended.get(depth, 0.0)
            found.append(Level(depth, len(nodes), len(edges), made, seconds))
        return found

    @property
    def not_made(self) -> list[Edge]:
        """The transitions that were not made: the host died before, or time was up."""
        return [e for node in self.graph.nodes for e in node.edges if id(e) not in self._made]
