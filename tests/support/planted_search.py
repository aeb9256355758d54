"""A search for a planted defect, on sequences that all defects share."""

from __future__ import annotations

from functools import cache
from itertools import count
from random import Random

from kvmprobe.execution.fuzzing import Fuzzing
from kvmprobe.execution.ledger import NoLedger
from kvmprobe.execution.settling import Hazardous
from kvmprobe.model.machine import Machine
from kvmprobe.progress import Silent
from kvmprobe.scenarios.need import NESTED_VMX
from kvmprobe.search.graph import Builder, scenario_of
from kvmprobe.search.guidance import Guidance, Strategy
from kvmprobe.search.sequences import Sequences
from kvmprobe.search.signature import Explained
from kvmprobe.search.starts import READ_BACK
from kvmprobe.search.values import ModelValues
from tests.support.hosts import AMX_HOST
from tests.support.searching import is_meant

_SIZE = 64


def first_find(place, batches, seed):
    """The first failure that the defect of a fake place causes in so many batches, or None."""
    asked = count()
    made = _Telling(_made(seed), place.defect)
    found = _fuzzing(place).run(made, "fuzz", lambda: next(asked) == batches, lambda _point: None)
    return next(filter(is_meant, found), None)


def first_find_in_graph(place, start, ops, depth):
    """The first failure among the transitions of a systematic search, each with its read-back."""
    calls = [call for call in start.calls(AMX_HOST) if call.name in ops]
    builder = Builder(AMX_HOST, start.ops, calls)
    for _ in range(depth):
        builder.deepen(lambda _done, _of: None)
    edges = [edge for node in builder.graph.nodes for edge in node.edges]
    made = [
        scenario_of(f"edge.{nr}", [(op,) for op in (*start.ops, *e.source.path, e.op, *READ_BACK)])
        for nr, e in enumerate(edges)
    ]
    telling = [scenario for scenario in made if changes(scenario, place.defect)]
    return next(filter(is_meant, _fuzzing(place).judged(telling[:_SIZE])), None)


def _fuzzing(place):
    return Fuzzing(place, Hazardous.EVERY, Explained.BY_NOTHING, NoLedger(), Silent())


def changes(scenario, defect):
    """Whether a defect changes a step: if none, the kernel answers as the model does."""
    machine = Machine.fresh(AMX_HOST)
    for _, op in scenario.ops():
        step = op.step(machine)
        if defect(op, machine, step) != step:
            return True
        machine = step.machine
    return False


class _Made:
    """The batches of a seed, made once: without coverage only the model guides a search."""

    def __init__(self, seed):
        random = Random(seed)
        # FakePlace has no KVM_CAP_NESTED_STATE.
        sequences = Sequences(AMX_HOST, random, ModelValues(AMX_HOST, random), NESTED_VMX)
        self._guidance = Guidance(random, sequences, Strategy.GUIDED)
        self._batches = []

    def batch(self, number):
        while number >= len(self._batches):
            first = _SIZE * len(self._batches)
            self._batches.append(self._guidance.batch("fuzz", first, _SIZE))
        return self._batches[number]


_made = cache(_Made)


class _Telling:
    """Gives a search those sequences of each batch in which the defect changes a step."""

    transition_count = block_count = 0

    def __init__(self, made, defect):
        self._made = made
        self._defect = defect
        self._numbers = count()

    def batch(self, _prefix, _first, _count):
        made = self._made.batch(next(self._numbers))
        return [scenario for scenario in made if changes(scenario, self._defect)]
