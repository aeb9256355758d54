"""Memoised model runs: the model's steps for one host from a fresh process on, each computed once.

Most scenarios begin alike, and most steps are the same on a kernel with a defect: only a step that
asks whether the kernel has the defect can differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import NoVcpu
from kvmprobe.model.behaviours import Behaviour, WatchedBehaviours
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done, HostDies, OneOf, Step
from kvmprobe.scenarios.model_states import States

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import Outcome
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

# Bytes that the steps of all runs of a host may take, and roughly what one takes beside images.
_MOST, _STEP = 64 << 20, 2 << 10


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A step that was computed.

    :ivar before: the state before it, kept because its id is the key; of the first step that a
        defect changes, the state of the host without the defect
    :ivar asked: behaviours that the model asked for
    :ivar answers: what the judge made of each reply to it, by result and output
    """

    before: Machine
    step: Step
    asked: Behaviours
    answers: dict[tuple[int, bytes | None], Any] = field(default_factory=dict)


class ModelRun:
    """Steps so far, by the state before and the op.

    :ivar size: bytes that they take, roughly
    :ivar starts: the states before the first step, by the registers of the threads that call
    """

    def __init__(self, host: HostProfile) -> None:
        self.host = host
        self.size = 0
        watched = WatchedBehaviours(host.behaviours)
        self._asked = watched.asked
        self.start = Machine.fresh(replace(host, behaviours=watched))
        self.starts = {self.start.registers: self.start}
        self._steps: dict[tuple[int, Op], Known] = {}
        self._states = States()
        self._walked: tuple[Scenario | None, Sequence[Known]] = (None, ())

    def step(self, machine: Machine, op: Op) -> Step:
        """Return the model's step from ``start`` or from a state that an earlier step led to."""
        return self.known(machine, op).step

    def known(self, machine: Machine, op: Op) -> Known:
        """Return the same step with what the model asked for."""
        key = (id(machine), op)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = self._compute(machine, op)
        return found

    def _compute(self, machine: Machine, op: Op) -> Known:
        self._asked.clear()
        step = op.step(machine)
        self.size += _STEP + _image_size(step.outcome)
        after = self._states.same(step.machine)
        return Known(machine, Step(after, step.outcome, step.rule), frozenset(self._asked))

    def start_of(self, scenario: Scenario) -> Machine:
        """Return the state before the first step; the host is that of ``start``."""
        registers = scenario.registers
        found = self.starts.get(registers)
        if found is None:
            found = self.starts[registers] = self.start._replace(registers=registers)
        return found

    def walk(self, scenario: Scenario) -> Iterator[Known]:
        """Yield the step of each op, up to one that the host does not survive.

        They end before an op on a vCPU that this kernel has not created.
        """
        machine = self.start_of(scenario)
        for _, op in scenario.ops():
            try:
                known = self.known(machine, op)
            except NoVcpu:
                return
            yield known
            if isinstance(known.step.outcome, HostDies):
                return
            machine = known.step.machine

    def walked(self, scenario: Scenario) -> Sequence[Known]:
        """Return the same steps; those of the last scenario are kept."""
        if self._walked[0] is not scenario:
            self._walked = scenario, tuple(self.walk(scenario))
        return self._walked[1]

    def asked(self, scenario: Scenario) -> Behaviours:
        """Return the behaviours that the model asks for in a scenario."""
        return frozenset[Behaviour]().union(*[known.asked for known in self.walked(scenario)])

    def forget_if_large(self) -> None:
        """Drop the steps when they take much memory; to be called between scenarios."""
        if self.size > _MOST:
            self.forget()

    def forget(self) -> None:
        """Drop the steps."""
        self.size = 0
        self._steps.clear()
        self._states.forget()
        self._walked = (None, ())


class DefectiveRun(ModelRun):
    """The steps on a kernel with more defects than another run's kernel.

    Up to the first step that a defect changes, its states and steps are the other run's.
    """

    def __init__(self, other: ModelRun, defects: Behaviours) -> None:
        behaviours = other.host.behaviours | defects
        super().__init__(replace(other.host, behaviours=behaviours))
        self._other = other
        self._defects = defects
        self._own_host = self.start.host
        self.start = other.start
        self.starts = other.starts

    def walk(self, scenario: Scenario) -> Iterator[Known]:
        """Yield the steps; as long as the defects make no difference, those of the other run."""
        shared = self._other.walked(scenario)
        disjoint = self._defects.isdisjoint
        first = next((nr for nr, known in enumerate(shared) if not disjoint(known.asked)), None)
        yield from shared[:first]
        if first is None:
            return
        machine = shared[first].before
        ops = (op for _, op in scenario.ops())
        for known, op in islice(zip_longest(shared, ops), first, None):
            same = known and machine is known.before and disjoint(known.asked)
            try:
                step = known if same else self.known(machine, op)
            except NoVcpu:
                return
            yield step
            if isinstance(step.step.outcome, HostDies):
                return
            machine = step.step.machine

    def known(self, machine: Machine, op: Op) -> Known:
        """Return a step of the other run, or one that the defects have changed."""
        if machine.host is self._own_host:
            return super().known(machine, op)
        shared = self._other.known(machine, op)
        if self._defects.isdisjoint(shared.asked):
            return shared
        key = (id(machine), op)
        found = self._steps.get(key)
        if found is None:
            own = replace(self._compute(machine._replace(host=self._own_host), op), before=machine)
            if _alike(own.step, shared.step):
                asked = shared.asked | own.asked
                own = shared if asked == shared.asked else replace(shared, asked=asked)
            found = self._steps[key] = own
        return found


def _image_size(outcome: Outcome) -> int:
    choices = outcome.choices if isinstance(outcome, OneOf) else (outcome,)
    return sum(len(one.image.image) for one in choices if isinstance(one, Done) and one.image)


def _alike(one: Step, other: Step) -> bool:
    """Return whether two steps differ in nothing but the host."""
    return one.outcome == other.outcome and one.machine[1:] == other.machine[1:]


class ModelRuns:
    """A model run for each set of defects of a host's kernel, all with the host's own variants.

    :ivar host: with the defects that it has
    """

    def __init__(self, host: HostProfile) -> None:
        self.host = host
        self._correct = ModelRun(host.without_defects)
        self._defective: dict[Behaviours, ModelRun] = {}

    def with_defects(self, defects: Behaviours = frozenset()) -> ModelRun:
        """Return the run for the host with just these defects; call it once per scenario."""
        self._forget_if_large()
        if not defects:
            return self._correct
        model_run = self._defective.get(defects) or self._new(defects)
        self._defective[defects] = model_run
        return model_run

    def _forget_if_large(self) -> None:
        """Drop the steps of all runs at once: a defective run keeps states of the correct one."""
        if self._correct.size + sum(run.size for run in self._defective.values()) > _MOST:
            self._correct.forget()
            self._defective.clear()

    def _new(self, defects: Behaviours) -> DefectiveRun:
        """Return a run that shares steps with that of a single defect, or of none."""
        first, *others = sorted(defects, key=lambda defect: defect.name)
        if not others:
            return DefectiveRun(self._correct, defects)
        return DefectiveRun(self.with_defects(frozenset({first})), frozenset(others))
