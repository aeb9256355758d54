"""Random sequences of calls for a search: new ones, and variations of others.

Steps are calls that may change something; observers only read.  So a sequence and its blind twin
must come out the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.model.machine import Machine
from kvmprobe.scenarios.domain import judgeable
from kvmprobe.scenarios.literal_fields import searched
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.guest import MapPayload
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, MapOut, OpenKvm
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.vcpu_state import CreateIrqchip
from kvmprobe.scenarios.scenario import Scenario
from kvmprobe.search.parts import Part, parts_of, with_parts
from kvmprobe.search.transitions import Trail
from kvmprobe.xstate.features import DYNAMIC, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.search.parts import Parts
    from kvmprobe.search.values import Values

_ATTEMPTS = 30
# Steps beyond those that create a vCPU.
_STEPS = range(2, 11)
_MOST_PARTS = 24
_READS = (1, 1, 2, 3)
_READ_AFTER, _READ_AT_END, _READS_AT_END = 0.25, 0.8, 4
# KVM_RUN uses all the state that was set.
_RUN_AT_END = 0.5
_IRQCHIP: tuple[Op, ...] = (CreateIrqchip(), MapOut())
# Relative frequency of ops, by the verb of their call: most bugs need state that was set.
_WEIGHTS = {"SET": 4.0, "RUN": 2.0, "REQ": 1.5, "GET": 0.5, "CREATE": 0.3}
# Some ops remove what most others need; others need what few ops leave.
_OWN_WEIGHTS = {
    "close": 0.05,
    "limit-descriptors": 0.05,
    "go-on-in-child": 0.2,
    "save-vcpu": 2.0,
    "restore-vcpu": 6.0,
    "get-listed-msrs": 1.0,
    "restore-listed-msrs": 10.0,
    "guest-enter-l2": 0.4,
    "save-nested-state": 1.0,
    "restore-nested-state": 10.0,
}


@dataclass(frozen=True, slots=True)
class Made:
    """A sequence, and the transitions of the model that it makes."""

    scenario: Scenario
    reached: frozenset[int]


class Sequences:
    """Makes sequences for one host; the same source of chance makes the same ones."""

    def __init__(self, host: HostProfile, random: Random, values: Values) -> None:
        self._host = host
        self._random = random
        self._values = values
        ops = sorted(registry().items())
        self._ops = [op_class for _, op_class in ops]
        self._weights = [_weight(op_class) for op_class in self._ops]
        self._readers = [op_class for op_class in self._ops if _only_reads(op_class)]
        self._runs = [op_class for op_class in self._ops if op_class.interface == "KVM_RUN"]
        self._dynamic = numbers(host.kvm_xcr0 & DYNAMIC)

    def new(self, name: str) -> Made:
        """Return a new sequence with this id."""
        trail = Trail(self._host)
        parts = [Part(op) for op in self._beginning() if trail.takes(op)]
        for _ in range(self._random.choice(_STEPS)):
            parts += self._step(trail)
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
                kept += self._step(trail)
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
        scenario = with_parts(Scenario(name, "", "", ()), (*parts, *self._ending(trail)))
        return Made(scenario, frozenset(trail.reached))

    def _ending(self, trail: Trail) -> Iterator[Part]:
        """Yield what uses the state that the steps have left: KVM_RUN, then reads."""
        if self._random.random() < _RUN_AT_END and (op := self._op(trail, self._runs)):
            yield Part(op)
        if self._random.random() < _READ_AT_END:
            yield from self._reads(trail, _READS_AT_END)

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

    def _step(self, trail: Trail) -> list[Part]:
        op = self._op(trail, self._ops, self._weights)
        parts = [Part(op)] if op else []
        if self._random.random() < _READ_AFTER:
            parts += self._reads(trail, self._random.choice(_READS))
        return parts

    def _reads(self, trail: Trail, count: int) -> Iterator[Part]:
        for _ in range(count):
            if op := self._op(trail, self._readers):
                yield Part(op, observes=True)

    def _op(
        self, trail: Trail, choices: Sequence[type[Op]], weights: Sequence[float] | None = None
    ) -> Op | None:
        """Return an op that the model can judge here, and follow it; None if none was found."""
        for _ in range(_ATTEMPTS):
            (op_class,) = self._random.choices(choices, weights)
            values = {
                field: self._values.value(op_class.name, field, kind, trail.machine)
                for field, kind in searched(op_class).items()
            }
            op = op_class(**values)
            if trail.takes(op):
                return op
        return None


def _weight(op_class: type[Op]) -> float:
    if op_class.name in _OWN_WEIGHTS:
        return _OWN_WEIGHTS[op_class.name]
    verb = op_class.interface.removeprefix("KVM_").removeprefix("ARCH_").partition("_")[0]
    weight = _WEIGHTS.get(verb, 1.0)
    # There are many ops of guest code; together they weigh as much as the ioctls.
    return weight * 0.5 if op_class.name.startswith("guest-") else weight


def _only_reads(op_class: type[Op]) -> bool:
    """Return True for a read of a vCPU that changes nothing."""
    reads = op_class.interface.startswith("KVM_GET_") and Descriptor.VCPU in op_class.on_kinds
    return reads and not op_class.takes_init
