"""The steps of the model that recorded scenarios reach, and the functions that each one calls."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.execution.preflight import profile_of
from kvmprobe.execution.recording import Rejudged, behaviours_of
from kvmprobe.model.behaviours import variants
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import HostDies
from kvmprobe.scenarios.model_states import States

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from called_functions import Calls, Function

    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.model.outcome import Step
    from kvmprobe.results.transcript import Transcript
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_STRIDE = 37
# Of the entries, how many are looked at for functions that comparing them calls.
_SAMPLE = 5


class ReachedStep(NamedTuple):
    """A step that scenarios of one kernel share.

    :ivar entries: the numbers of these scenarios in the transcript
    """

    before: Machine
    op: Op
    step: Step
    called: frozenset[Function]
    entries: list[int]

    def differs_now(self) -> bool:
        """Return True if the model, which was changed meanwhile, has another step here."""
        now = self.op.step(self.before)
        return now.outcome != self.step.outcome or now.machine[1:] != self.step.machine[1:]


@dataclass
class Reached:
    """What a transcript's scenarios reach.

    :ivar steps: by the function that they call
    :ivar judge: functions that comparing any of the entries may call
    """

    transcript: Transcript
    steps: dict[Function, list[ReachedStep]]
    judge: set[Function]

    def steps_that_call(self, functions: Collection[Function]) -> Iterator[ReachedStep]:
        """Yield the steps that call one of these functions, each once."""
        seen: set[int] = set()
        for function in functions:
            for step in self.steps.get(function, ()):
                if id(step) not in seen:
                    seen.add(id(step))
                    yield step

    def entries_that_call(self, functions: Collection[Function]) -> list[int]:
        """Return the numbers of the entries that call one of these functions."""
        found: dict[int, None] = {}
        for step in self.steps_that_call(functions):
            found |= dict.fromkeys(step.entries)
        if not self.judge.isdisjoint(functions):
            found |= dict.fromkeys(range(len(self.transcript.entries)))
        return list(found)


def reached(transcript: Transcript, calls: Calls) -> Reached:
    """Return what a transcript's scenarios reach."""
    found = Reached(transcript, defaultdict(list), set())
    host = profile_of(transcript.facts)
    expected = variants(transcript.behaviours)
    walks: dict[Behaviours, _Walk] = {}
    judge = Rejudged(transcript)
    for number, entry in enumerate(transcript.entries):
        for defects in {frozenset(), behaviours_of(entry.known)}:
            if defects not in walks:
                behaviours = expected | defects
                walks[defects] = _Walk(Machine.fresh(replace(host, behaviours=behaviours)), calls)
            walks[defects].add(entry.scenario, number)
        if number % _SAMPLE == 0:
            judge.prepare(entry)
            found.judge |= calls.during(partial(judge.is_alike, entry))[1]
    for walk in walks.values():
        for step in walk.steps():
            for function in step.called:
                found.steps[function].append(step)
    return found


class _Walk:
    """The steps on one kernel with one set of defects."""

    def __init__(self, start: Machine, calls: Calls) -> None:
        self._start, self._calls = start, calls
        self._steps: dict[tuple[int, Op], ReachedStep] = {}
        self._states = States()

    def add(self, scenario: Scenario, number: int) -> None:
        """Add a scenario's steps, up to the one that the host does not survive."""
        machine = self._states.same(self._start._replace(registers=scenario.registers))
        for _, op in scenario.ops():
            known = self._steps.get((id(machine), op)) or self._compute(machine, op)
            if not known.entries or known.entries[-1] != number:
                known.entries.append(number)
            if isinstance(known.step.outcome, HostDies):
                return
            machine = known.step.machine

    def _compute(self, machine: Machine, op: Op) -> ReachedStep:
        step, called = self._calls.during(lambda: op.step(machine))
        kept = step._replace(machine=self._states.same(step.machine))
        found = self._steps[id(machine), op] = ReachedStep(machine, op, kept, called, [])
        return found

    def steps(self) -> Iterator[ReachedStep]:
        """Yield the steps; those that are far from each other in the transcript come first."""
        every: Sequence[ReachedStep] = list(self._steps.values())
        for start in range(_STRIDE):
            yield from every[start::_STRIDE]
