"""Saves guests on one host, and restores those of all hosts on another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from kvmprobe.errors import KvmprobeError
from kvmprobe.execution.driver import Driver, Request, TraceLostError
from kvmprobe.execution.preflight import unmet
from kvmprobe.execution.probing import examine
from kvmprobe.execution.shards import Shards
from kvmprobe.judge.lockstep import agrees_along
from kvmprobe.moves.causes import explained
from kvmprobe.moves.cells import Cell, Fared, Fate, MovedGuest
from kvmprobe.moves.guests import uses
from kvmprobe.moves.orders import Saved
from kvmprobe.moves.resuming import trying
from kvmprobe.moves.saving import saved, saving
from kvmprobe.results.trace import End
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.hazard import fatal_step
from kvmprobe.scenarios.model_run import ModelRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.execution.place import Place
    from kvmprobe.execution.preflight import Preflight
    from kvmprobe.model.host import HostProfile
    from kvmprobe.moves.guests import Use
    from kvmprobe.moves.restoring import Into
    from kvmprobe.moves.resuming import Resumption
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.presets import Preset
    from kvmprobe.scenarios.scenario import Scenario

_FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Move:
    """A saved guest to restore, into a new or a used vCPU."""

    moved: MovedGuest
    into: Into


@dataclass(frozen=True, slots=True)
class MovingHost:
    """A host that was probed, whose machine is booted.

    :ivar name: as the matrix has it
    """

    name: str
    place: Place
    preflight: Preflight

    @classmethod
    def probed(cls, place: Place) -> Self:
        """Boot a host and probe it.

        :raises BootFailed, LabError: it does not boot
        :raises Unavailable: KVM cannot be used there
        """
        with place.open() as link:
            found = examine(Driver(link, place.timing))
        return cls(place.target.release, place, found)

    def at(self, place: Place) -> MovingHost:
        """Return the host as it was probed, booted again."""
        return replace(self, place=place)

    @property
    def profile(self) -> HostProfile:
        """The facts about it."""
        return self.preflight.profile

    def uses(self, order: Preset) -> tuple[Use, ...]:
        """Return the uses of a guest's state that the host offers and the order restores."""
        return uses(self.profile.supported, order.states)

    def save(self, orders: Sequence[Preset]) -> dict[tuple[str, Use], MovedGuest | str]:
        """Save a guest for each order and use; the reason where one was not saved.

        :returns: by the order's name and use
        """
        host, lacking = self.profile, unmet(self.preflight)
        found: dict[tuple[str, Use], MovedGuest | str] = {}
        wanted: list[tuple[Preset, Use, Scenario]] = []
        for order, use in [(each, use) for each in orders for use in self.uses(each)]:
            scenario = saving(host, order, use)
            needs = [reason for need, (_, reason) in lacking.items() if need in scenario.needs]
            if needs:
                found[order.name, use] = f"not saved: {needs[0]}"
            else:
                wanted.append((order, use, scenario))
        results = self.run([scenario for *_, scenario in wanted])
        model = ModelRun(host)
        for (order, use, scenario), result in zip(wanted, results, strict=True):
            found[order.name, use] = self._saved(order, use, scenario, model, result)
        return found

    def _saved(
        self,
        order: Preset,
        use: Use,
        scenario: Scenario,
        model: ModelRun,
        result: Trace | TraceLostError,
    ) -> MovedGuest | str:
        if isinstance(result, TraceLostError):
            return f"not saved: {result}"
        if result.end is not End.DONE:
            return f"not saved: {result.end_note}"
        if not agrees_along(scenario, model, result):
            return "not saved: the kernel did what the model does not expect"
        return self.moved(order, use, scenario, model, result)

    def moved(
        self, order: Preset, use: Use, scenario: Scenario, model: ModelRun, trace: Trace
    ) -> MovedGuest:
        """Return the guest that a scenario saves at its end.

        :param scenario: ran as the model says
        :param model: of this host
        """
        vcpu = model.walked(scenario)[-1].step.machine.vcpu(VCPU)
        brand = self.preflight.facts["cpu"]["brand"]
        target = self.place.target
        guest = saved(self.profile, scenario, trace, vcpu, target=target, processor=brand)
        return MovedGuest(self.name, self.profile, order, use, guest, vcpu)

    def restore(self, moves: Sequence[Move]) -> list[Cell]:
        """Restore each guest, in the order in which it was saved; return a cell for each."""
        cells: dict[int, Cell] = {}
        model = ModelRun(self.profile)
        wanted: list[tuple[int, Resumption]] = []
        for number, move in enumerate(moves):
            moved = move.moved
            cell = Cell(moved.source, self.name, moved.order.name, move.into, moved.use)
            try:
                resumption = trying(moved.guest, moved.order, model, move.into)
            except KvmprobeError as error:
                cells[number] = replace(cell, refused=str(error))
                continue
            sides = Saved(moved.host, moved.vcpu, self.profile)
            cells[number] = replace(cell, findings=explained(sides, moved.order, move.into))
            wanted.append((number, resumption))
            model.forget_if_large()
        results = self.run([resumption.scenario for _, resumption in wanted])
        for (number, resumption), result in zip(wanted, results, strict=True):
            cells[number] = _seen(cells[number], resumption, model, result)
            model.forget_if_large()
        return [cells[number] for number in range(len(moves))]

    def run(self, scenarios: Sequence[Scenario]) -> list[Trace | TraceLostError]:
        """Run them; after one that the host does not survive, the others run on another fork."""
        if not scenarios:
            return []
        requests = [Request(scenario, gate=0) for scenario in scenarios]
        return list(Shards(self.place, self.profile).run(requests, _FOREVER))


def _seen(
    cell: Cell, resumption: Resumption, model: ModelRun, result: Trace | TraceLostError
) -> Cell:
    """Return the cell with what the host did."""
    scenario = resumption.scenario
    if isinstance(result, TraceLostError):
        if result.crash is None:
            return replace(cell, why_not=str(result))
        dies = fatal_step(scenario, model)
        at = None if dies is None else dies[0]
        agrees = at == len(result.trace.steps) and agrees_along(scenario, model, result.trace)
        call = scenario.steps[len(result.trace.steps)].op.call_name
        return replace(cell, seen=Fared(Fate.FATAL, call), agrees=agrees)
    if result.end is not End.DONE:
        return replace(cell, why_not=result.end_note)
    agrees = not resumption.fatal and agrees_along(scenario, model, result)
    return replace(cell, seen=_fared(resumption), agrees=agrees)


def _fared(resumption: Resumption) -> Fared:
    if resumption.refused:
        return Fared(Fate.REFUSED, resumption.refused)
    lost = frozenset(resumption.lost)
    return Fared(Fate.LOST, pieces=lost) if lost else Fared(Fate.GOES_ON)
