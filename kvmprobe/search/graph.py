"""The graph of a search: the model's states up to a depth, and the calls between them.

Only the model is asked.  States are equal if the model's states are equal, whichever calls led
there.  Each state is entered by the calls that lead there first; the other transitions to it are
*joins*.  A transition that changes nothing is a *loop*.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.errors import ScenarioError
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.model.outcome import HostDies, NotCovered
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.hazard import fatal_step
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.scenarios.model_states import States
from kvmprobe.scenarios.need import needs_of
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.scenarios.ops import Op


class Way(Enum):
    """How a transition is to be made."""

    TREE = "enters a state for the first time"
    JOIN = "leads to a state that other calls enter first"
    LOOP = "changes nothing"
    OPEN = "the model has no rule for what follows"


@dataclass(eq=False, slots=True)
class Node:
    """A state of the model.

    :ivar path: the calls that lead here from the start
    :ivar edges: the transitions that leave it; none in a state of the largest depth
    :ivar entry: the transition that enters it first; None for the start
    """

    number: int
    path: tuple[Op, ...]
    machine: Machine
    domain: Domain
    edges: list[Edge] = field(default_factory=list)
    entry: Edge | None = None

    @property
    def depth(self) -> int:
        """How many calls lead here."""
        return len(self.path)

    def by(self, *ways: Way) -> list[Edge]:
        """Return the transitions that are made in one of these ways."""
        return [edge for edge in self.edges if edge.way in ways]


@dataclass(eq=False, slots=True)
class Edge:
    """A transition: a call in a state.

    :ivar source: the state
    :ivar target: the state behind it; None if the model has no rule for that
    :ivar hazardous: a kernel with the defects that the tool knows dies here
    """

    source: Node
    op: Op
    target: Node | None
    way: Way
    hazardous: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the transitions, for one of several machines.

    What leads to one state is in one part, so that what the state reads after different calls is
    compared there.

    :ivar number: 1 to ``of``
    :ivar of: how many parts there are
    """

    number: int = 1
    of: int = 1

    def has(self, node: Node) -> bool:
        """Return True if a state is read in this part."""
        return node.number % self.of == self.number - 1

    def makes(self, edge: Edge) -> bool:
        """Return True if a transition is in this part."""
        return self.has(edge.target or edge.source)


@dataclass(slots=True)
class Graph:
    """All states up to a depth.

    :ivar start: the calls that lead to the first state
    :ivar calls: those that are made in each state
    :ivar levels: the states of each depth
    :ivar refused: why a call cannot be made, and in how many states, by call
    """

    start: tuple[Op, ...]
    calls: tuple[Op, ...]
    levels: list[list[Node]]
    refused: dict[Op, Counter[str]]

    @property
    def root(self) -> Node:
        """The state behind the start."""
        return self.levels[0][0]

    @property
    def nodes(self) -> list[Node]:
        """All states."""
        return [node for level in self.levels for node in level]

    def transitions(self, depth: int) -> int:
        """Return how many transitions leave the states of a depth."""
        return sum(len(node.edges) for node in self.levels[depth])

    def never(self) -> dict[Op, str]:
        """Return the calls that are possible in no state, and the usual reason."""
        made = {edge.op for node in self.nodes for edge in node.edges}
        return {
            op: why.most_common(1)[0][0]
            for op, why in self.refused.items()
            if op not in made and why
        }


def scenario_of(name: str, steps: Sequence[Sequence[Op]]) -> Scenario:
    """Return the steps as a scenario, each an op and the ops that read state after it."""
    made = tuple(ScenarioStep(op, tuple(reads)) for op, *reads in steps)
    needs = needs_of(op for step in made for op in step.ops)
    return Scenario(name, name, "", made, needs)


class Builder:
    """Builds the graph level by level."""

    def __init__(self, host: HostProfile, start: Sequence[Op], calls: Sequence[Op]) -> None:
        """Follow the start.

        :raises ScenarioError: the model cannot judge the start on this host
        """
        self._runs = ModelRuns(host)
        self._states = States()
        self._nodes: dict[Hashable, Node] = {}
        domain = Domain(host.without_defects)
        for op in start:
            domain.follow(op)
        self.graph = Graph(tuple(start), tuple(calls), [], {op: Counter() for op in calls})
        self.graph.levels.append([self._node((), domain)])

    def deepen(self, advance: Callable[[int, int], None]) -> None:
        """Add the transitions that leave the last level, and the states behind them.

        :param advance: told how many states of how many are done
        """
        last, entered = self.graph.levels[-1], list[Node]()
        found = []
        for done, node in enumerate(last, 1):
            found += [(node, *made) for op in self.graph.calls if (made := self._made(node, op))]
            advance(done, len(last))
        # A state is entered without a hazard if it can be: else a panic would hide what is behind.
        for node, op, domain, way, hazardous in sorted(found, key=lambda each: each[-1]):
            if way is not None:
                same = node if way is Way.LOOP else None
                node.edges.append(Edge(node, op, same, way, hazardous))
                continue
            known = self._nodes.get(self._key(domain))
            target = known or self._node((*node.path, op), domain)
            new = Way.JOIN if known else Way.TREE
            node.edges.append(Edge(node, op, target, new, hazardous))
            if known is None:
                entered.append(target)
                target.entry = node.edges[-1]
        self.graph.levels.append(entered)

    def _made(self, node: Node, op: Op) -> tuple[Op, Domain, Way | None, bool] | None:
        """Return a transition, with its way if it leads to no other state; None if impossible."""
        domain = node.domain.copy()
        try:
            step = domain.follow(op)
        except ScenarioError as error:
            self.graph.refused[op][str(error)] += 1
            return None
        domain.machine = self._states.same(domain.machine)
        scenario = scenario_of("", [(each,) for each in (*self.graph.start, *node.path, op)])
        hazardous = fatal_step(scenario, self._runs.with_defects(DEFECTS)) is not None
        if isinstance(step.outcome, NotCovered | HostDies) or domain.machine.doubt:
            return op, domain, Way.OPEN, hazardous
        if self._key(domain) == self._key(node.domain):
            return op, domain, Way.LOOP, hazardous
        return op, domain, None, hazardous

    def _key(self, domain: Domain) -> Hashable:
        return id(domain.machine), domain.code

    def _node(self, path: tuple[Op, ...], domain: Domain) -> Node:
        domain.machine = self._states.same(domain.machine)
        node = Node(len(self._nodes), path, domain.machine, domain)
        self._nodes[self._key(domain)] = node
        return node
