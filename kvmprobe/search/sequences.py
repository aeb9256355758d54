"""Random sequences of calls for a search: new ones, and variations of others.

Steps are calls that may change something; observers only read.  So a sequence and its blind twin
must come out the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.model.machine import Machine
from kvmprobe.scenarios.domain import judgeable
from kvmprobe.scenarios.literal_fields import searched
from kvmprobe.scenarios.need import ANYWHERE
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.guest import MapPayload
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, MapOut, OpenKvm
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.vcpu_state import CreateIrqchip
from kvmprobe.scenarios.scenario import Scenario
from kvmprobe.search.keepers import keepers
from kvmprobe.search.parts import Part, parts_of, with_parts
from kvmprobe.search.transitions import Trail
from kvmprobe.search.vocabulary import Vocabulary
from kvmprobe.xstate.features import DYNAMIC, numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from random import Random

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.need import Needs
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.search.parts import Parts
    from kvmprobe.search.values import Values

_ATTEMPTS = 30
# Steps beyond those that create a vCPU.
_STEPS = range(2, 15)
_MOST_PARTS = 24
# Sequences of few kinds of calls: what these do to each other comes up more often.
_FEW_KINDS = 0.5
# Steps whose op the sequence has already: a state is set, then set otherwise.
_AGAIN = 0.33
# Steps that must change the model's state.
_CHANGING = 0.7
# Steps that take any op alike: each comes up, also one that changes nothing.
_ANY = 0.06
_READS = (1, 1, 2, 3)
# KVM_RUN uses all the state that was set.
_RUN_AT_END = 0.5
# At the end, what has been set is read, and anything else.
_READ_AFTER, _READ_AT_END, _OF_SET, _OF_ANY = 0.25, 0.9, 3, 2
_IRQCHIP: tuple[Op, ...] = (CreateIrqchip(), MapOut())


@dataclass(frozen=True, slots=True)
class Made:
    """A sequence, and the transitions of the model that it makes."""

    scenario: Scenario
    reached: frozenset[int]


class Sequences:
    """Makes sequences for one host; the same source of chance makes the same ones."""

    def __init__(
        self, host: HostProfile, random: Random, values: Values, missing: Needs = ANYWHERE
    ) -> None:
        """Prepare it.

        :param missing: what the target lacks: no sequence needs it
        """
        self._host = host
        self._random = random
        self._values = values
        self._vocabulary = Vocabulary(missing)
        self._dynamic = numbers(host.kvm_xcr0 & DYNAMIC)

    def new(self, name: str) -> Made:
        """Return a new sequence with this id."""
        trail = Trail(self._host)
        parts = [Part(op) for op in self._beginning() if trail.takes(op)]
        few = self._random.random() < _FEW_KINDS
        choices = self._vocabulary.few(self._random) if few else self._vocabulary.writers
        for _ in range(self._random.choice(_STEPS)):
            parts += self._step(trail, choices, parts)
        return self._made(name, parts, trail)

    def variation(self, name: str, of: Scenario, other: Scenario) -> Made:
        """Return a sequence that differs from another one in a few places.

        :param other: a sequence of which a piece may be taken
        """
        parts: list[Part | None] = [*parts_of(of)]
        for _ in range(self._random.choice((1, 1, 2, 3))):
            parts = self._varied(parts, parts_of(other))
        trail = Trail(self._host)
        kept: list[Part] = []
        for part in parts[:_MOST_PARTS]:
            if part is None:
                kept += self._step(trail, self._vocabulary.writers, kept)
            elif trail.takes(part.op):
                kept.append(part)
        # Without its beginning nothing of a sequence may be possible.
        return self._made(name, kept, trail) if kept else self.new(name)

    def judges(self, scenario: Scenario) -> bool:
        """Return True if the model can judge all calls of a sequence on this host."""
        return judgeable((op for _, op in scenario.ops()), self._host)

    def again(self, scenario: Scenario) -> Made:
        """Return a sequence as it is, with the transitions that it makes."""
        trail = Trail(self._host)
        for _, op in scenario.ops():
            trail.takes(op)
        return Made(scenario, frozenset(trail.reached))

    def _varied(self, parts: list[Part | None], other: Parts) -> list[Part | None]:
        """Return parts that differ in one place; None stands for a new step."""
        place = self._random.randrange(len(parts) + 1)
        before, after = parts[:place], parts[place:]
        match self._random.randrange(6):
            case 0 | 1:
                return [*before, *[None] * self._random.choice((1, 1, 2, 4)), *after]
            case 2 if after:
                return [*before, self._with_a_value(after[0]), *after[1:]]
            case 3:
                return [*before, *after[self._random.choice((1, 1, 2, 4)) :]]
            case 4 if len(after) > 1:
                taken = self._random.randrange(1, len(after))
                return [*before, after[taken], *after[:taken], *after[taken + 1 :]]
            case _:
                start = self._random.randrange(len(other) + 1)
                return [*before, *other[start : start + self._random.randrange(1, 8)], *after]

    def _with_a_value(self, part: Part | None) -> Part | None:
        """Return a part with another value of one field, if its op has any."""
        fields = searched(type(part.op)) if part else {}
        if part is None or not fields:
            return part
        field = self._random.choice(list(fields))
        start = Machine.fresh(self._host)
        value = self._values.value(part.op.name, field, fields[field], start)
        changed = replace(part.op, **{field: value})  # type: ignore[type-var]
        return Part(changed, part.observes)

    def _made(self, name: str, parts: Sequence[Part], trail: Trail) -> Made:
        scenario = with_parts(Scenario(name, "", "", ()), (*parts, *self._ending(trail, parts)))
        return Made(scenario, frozenset(trail.reached))

    def _ending(self, trail: Trail, parts: Sequence[Part]) -> Iterator[Part]:
        """Yield what uses the state that the steps have left: KVM_RUN, then reads."""
        if self._random.random() < _RUN_AT_END:
            yield from map(Part, self._ops(trail, trail.takes, self._vocabulary.runs))
        if self._random.random() >= _READ_AT_END:
            return
        yield from self._reads(trail, _OF_SET, self._vocabulary.readers_of(p.op for p in parts))
        yield from self._reads(trail, _OF_ANY, self._vocabulary.readers)
        if len(trail.machine.vcpus) > 1:
            yield from self._reads(trail, _OF_ANY, self._vocabulary.readers_of_any)

    def _beginning(self) -> Iterator[Op]:
        """Yield what creates a vCPU, with or without permission, guest code and CPUID."""
        chance = self._random.random
        yield OpenKvm()
        if self._dynamic and chance() < 0.6:
            yield RequestGuestPermission(self._random.choice(self._dynamic))
        yield CreateVm()
        code = self._random.choices(((MapHalt(),), (MapPayload(),), _IRQCHIP, ()), (5, 5, 1, 1))
        yield from code[0]
        yield CreateVcpu()
        if chance() < 0.7:
            yield GetSupportedCpuid()
            if chance() < 0.8:
                yield SetCpuid2()

    def _step(
        self, trail: Trail, choices: Mapping[type[Op], float], before: Sequence[Part]
    ) -> list[Part]:
        """Return a new step: one of these ops, or one that the sequence has, with other values.

        A few are any op.
        """
        take = trail.takes_change if self._random.random() < _CHANGING else trail.takes
        if self._random.random() < _ANY:
            choices, take = dict.fromkeys(self._vocabulary.writers, 1.0), trail.takes
        elif self._random.random() < _AGAIN:
            again = (part.op for part in before if not part.observes)
            choices = self._vocabulary.writers_among(again) or choices
        parts = [Part(op) for op in self._ops(trail, take, choices)]
        if self._random.random() < _READ_AFTER:
            parts += self._reads(trail, self._random.choice(_READS), self._vocabulary.readers)
        return parts

    def _reads(self, trail: Trail, count: int, readers: Sequence[type[Op]]) -> list[Part]:
        choices = dict.fromkeys(readers, 1.0)
        reads = [op for _ in range(count) for op in self._ops(trail, trail.takes, choices)]
        return [Part(op, observes=True) for op in reads]

    def _ops(
        self, trail: Trail, take: Callable[[Op], bool], choices: Mapping[type[Op], float]
    ) -> tuple[Op, ...]:
        """Return an op that was taken; nothing if there is none.

        Where it writes back what no op has kept, the op that keeps it comes before it.
        """
        ops, weights = list(choices), list(choices.values())
        for _ in range(_ATTEMPTS if ops else 0):
            op = self._with_values(self._random.choices(ops, weights)[0], trail.machine)
            if take(op):
                return (op,)
            keeper = keepers().get(trail.unkept)
            if keeper and trail.takes(keeper):
                return (keeper, op) if trail.takes(op) else (keeper,)
        return ()

    def _with_values(self, op_class: type[Op], machine: Machine) -> Op:
        values = {
            field: self._values.value(op_class.name, field, kind, machine)
            for field, kind in searched(op_class).items()
        }
        return op_class(**values)
