"""Generates random scenarios within the model's domain, over all ops and all their fields."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from kvmprobe.errors import ScenarioError
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.hazard import first_hazard
from kvmprobe.scenarios.literal_fields import searched
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.scenarios.need import needs_of
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.guest import MapPayload
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, MapOut, OpenKvm
from kvmprobe.scenarios.ops.permission import GetSupported, RequestGuestPermission
from kvmprobe.scenarios.ops.vcpu_state import CreateIrqchip
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.search.values import CatalogueValues
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_MOST_STEPS = 40
_ATTEMPTS = 50
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
    "guest-enter-l2": 0.4,
    "restore-nested-state": 5.0,
    "run-until-out": 3.0,
}
_OBSERVED = 0.3


class Generator:
    """Generates scenarios for one host; the same seed gives the same scenarios."""

    def __init__(self, host: HostProfile, random: Random) -> None:
        self._host = host
        self._random = random
        self._ops = sorted(registry().items())
        self._weights = [_WEIGHTS.get(name, 1.0) for name, _ in self._ops]
        self._values = CatalogueValues(host, random)

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
        needs = needs_of(op for step in steps for op in step.ops)
        return Scenario(name, "random", "", tuple(steps), needs)

    def _next(self, domain: Domain) -> Op:
        for _ in range(_ATTEMPTS):
            ((name, op_class),) = self._random.choices(self._ops, self._weights)
            values = {
                field: self._values.value(name, field, kind, domain.machine)
                for field, kind in searched(op_class).items()
            }
            op = op_class(**values)
            try:
                domain.follow(op)
            except ScenarioError:
                continue
            return op
        possible = GetSupported()
        domain.follow(possible)
        return possible


def harmless(host: HostProfile, seed: int, count: int) -> Iterator[Scenario]:
    """Yield those of so many scenarios of a seed that have no hazard, with any known defect."""
    generator, runs = Generator(host, Random(seed)), ModelRuns(host)  # noqa: S311 - not a secret
    for number in range(count):
        scenario = generator.scenario(f"random.{seed}.{number}")
        if first_hazard(scenario, runs, DEFECTS) is None:
            yield scenario
