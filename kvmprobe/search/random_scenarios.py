"""Generates random scenarios within the model's domain, over all ops and all their fields."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.errors import ScenarioError
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.calls import KVM, VCPU, VM
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.hazard import first_hazard
from kvmprobe.scenarios.literal_fields import Bytes
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.scenarios.op_fields import (
    Choice,
    Items,
    Members,
    Number,
    Row,
    Text,
    TextOrNone,
    kinds,
)
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.guest import MapPayload
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, MapOut, OpenKvm
from kvmprobe.scenarios.ops.permission import GetSupported, RequestGuestPermission
from kvmprobe.scenarios.ops.vcpu_state import CreateIrqchip
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.op_fields import Kind
    from kvmprobe.scenarios.ops import Op

_MOST_STEPS = 40
_ATTEMPTS = 50
_DESCRIPTORS = {
    Descriptor.KVM: (KVM,),
    Descriptor.VM: (VM, "vm1"),
    Descriptor.VCPU: (VCPU, "vcpu1", "vcpu2"),
}
_TASKS = ("task0", "task1", "task2")
_CPUID: tuple[Op, ...] = (GetSupportedCpuid(), SetCpuid2())
_PERMISSION = RequestGuestPermission(XFeature.XTILE_DATA)
# Few ops are possible without one of these.
_BEGINNINGS: tuple[tuple[Op, ...], ...] = (
    (),
    (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu()),
    (OpenKvm(), _PERMISSION, CreateVm(), MapHalt(), CreateVcpu(), *_CPUID),
    (OpenKvm(), CreateVm(), CreateIrqchip(), MapOut(), CreateVcpu(), SetCpuid2(Table.NO_AMX)),
    (OpenKvm(), CreateVm(), MapPayload(), CreateVcpu(), *_CPUID),
    (OpenKvm(), _PERMISSION, CreateVm(), MapPayload(), CreateVcpu(), *_CPUID),
)
_BEGINNING_WEIGHTS = (1, 6, 4, 3, 3, 3)
# Some ops remove what most others need; others need what few ops leave.
_WEIGHTS = {
    "close": 0.02,
    "limit-descriptors": 0.05,
    "spawn-task": 0.2,
    "save-vcpu": 3.0,
    "restore-vcpu": 5.0,
    "restore-listed-msrs": 10.0,
    "run-until-out": 3.0,
}
_CATALOGUE_VALUE, _OBSERVED, _OWN_CALL = 0.7, 0.3, 0.85


class Generator:
    """Generates scenarios for one host; the same seed gives the same scenarios."""

    def __init__(self, host: HostProfile, random: Random) -> None:
        self._host = host
        self._random = random
        self._ops = sorted(registry().items())
        self._weights = [_WEIGHTS.get(name, 1.0) for name, _ in self._ops]
        self._known = catalogue_values(host)

    def scenario(self, name: str) -> Scenario:
        """Return a scenario with this id; the model can judge all of it."""
        domain = Domain(self._host)
        steps: list[ScenarioStep] = []
        (beginning,) = self._random.choices(_BEGINNINGS, _BEGINNING_WEIGHTS)
        for usual in beginning:
            domain.follow(usual)
            steps.append(ScenarioStep(usual))
        for _ in range(self._random.randrange(1, _MOST_STEPS)):
            op = self._next(domain)
            observers = []
            while self._random.random() < _OBSERVED:
                observers.append(self._next(domain))
            steps.append(ScenarioStep(op, tuple(observers)))
        needs = frozenset().union(*(op.needs for step in steps for op in step.ops))
        return Scenario(name, "random", "", tuple(steps), needs)

    def _next(self, domain: Domain) -> Op:
        for _ in range(_ATTEMPTS):
            ((name, op_class),) = self._random.choices(self._ops, self._weights)
            op = op_class(**{f: self._value(name, f, k) for f, k in kinds(op_class).items()})
            try:
                domain.follow(op)
            except ScenarioError:
                continue
            return op
        possible = GetSupported()
        domain.follow(possible)
        return possible

    def _value(self, op: str, field: str, kind: Kind) -> Any:  # noqa: ANN401 - any field's
        known = self._known.get((op, field), ())
        match kind:
            case Text():
                return self._random.choice(_names(field))
            case TextOrNone():
                own = self._random.random() < _OWN_CALL
                return "" if own else self._random.choice(_TASKS)
            case _ if known and self._random.random() < _CATALOGUE_VALUE:
                return self._random.choice(known)
            case _:
                return self._made_up(kind)

    def _made_up(self, kind: Kind) -> Any:  # noqa: ANN401 - any field's
        match kind:
            case Number(largest):
                return self._number(largest)
            case Choice():
                return self._random.choice(kind.members)
            case Row():
                return tuple(self._made_up(item) for item in kind.kinds)
            case Members():
                name, width = self._random.choice(list(kind.widths.items()))
                return self._random.choice(((), ((name, self._made_up(width)),)))
            case Items():
                length = self._random.choice((0, 1, 1, 2, 3, 5, 17, 257))
                return tuple(self._made_up(kind.item) for _ in range(length))
            case Bytes(least, most):
                return self._random.randbytes(self._random.choice((least, most)))
            case _:
                raise TypeError(f"no random value of {kind}")

    def _number(self, largest: int) -> int:
        bits = largest.bit_length()
        match self._random.randrange(4):
            case 0:
                return self._random.choice((0, 1, largest, largest - 1, largest // 2))
            case 1:
                return 1 << self._random.randrange(bits)
            case 2:
                return self._random.randrange(min(largest + 1, 1 << 20))
            case _:
                return self._random.randrange(largest + 1)


def harmless(host: HostProfile, seed: int, count: int) -> Iterator[Scenario]:
    """Yield those of so many scenarios of a seed that have no hazard, with any known defect."""
    generator, runs = Generator(host, Random(seed)), ModelRuns(host)  # noqa: S311 - not a secret
    for number in range(count):
        scenario = generator.scenario(f"random.{seed}.{number}")
        if first_hazard(scenario, runs, DEFECTS) is None:
            yield scenario


@cache
def catalogue_values(host: HostProfile) -> Mapping[tuple[str, str], Sequence[Any]]:
    """Return the values of each op's fields in the catalogue of a host."""
    found: dict[tuple[str, str], dict[Any, None]] = {}
    for op in dict.fromkeys(op for s in catalog.scenarios(host) for _, op in s.ops()):
        for field in kinds(type(op)):
            found.setdefault((op.name, field), {})[getattr(op, field)] = None
    return {place: tuple(values) for place, values in found.items()}


def _names(field: str) -> Sequence[str]:
    match field:
        case "task":
            return _TASKS
        case "vm":
            return _DESCRIPTORS[Descriptor.VM]
        case "on":
            return tuple(name for names in _DESCRIPTORS.values() for name in names)
        case _:
            return _DESCRIPTORS[Descriptor.VCPU]
