"""Saves guests on one host, and restores those of all hosts on another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.errors import KvmprobeError
from kvmprobe.execution.driver import Driver, Request, TraceLostError
from kvmprobe.execution.preflight import unmet
from kvmprobe.execution.probing import examine
from kvmprobe.judge.lockstep import agrees
from kvmprobe.moves.cells import Cell, Fared, Fate, MovedGuest, predicted
from kvmprobe.moves.guests import uses
from kvmprobe.moves.resuming import trying
from kvmprobe.moves.saving import saved, saving
from kvmprobe.results.trace import End, Trace
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.model_run import ModelRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmprobe.execution.place import Place
    from kvmprobe.model.host import HostProfile
    from kvmprobe.moves.guests import Use
    from kvmprobe.moves.resuming import Resumption
    from kvmprobe.scenarios.presets import Preset
    from kvmprobe.scenarios.scenario import Scenario


def save_all(
    place: Place, orders: Sequence[Preset]
) -> tuple[list[MovedGuest], dict[tuple[str, Use], str]]:
    """Save a guest for each order and use of its state; return also why some were not saved.

    :raises Unavailable: KVM cannot be used there
    """
    with place.open() as link:
        driver = Driver(link, place.timing)
        preflight = examine(driver)
        host, lacking = preflight.profile, unmet(preflight)
        planned = [(o, use) for o in orders for use in uses(host.supported, o.states)]
        wanted, why = [], dict[tuple[str, "Use"], str]()
        for order, use in planned:
            scenario = saving(host, order, use)
            needs = [reason for need, (_, reason) in lacking.items() if need in scenario.needs]
            if needs:
                why[order.name, use] = f"not saved: {needs[0]}"
            else:
                wanted.append((order, use, scenario))
        traces = _traces(driver, [scenario for *_, scenario in wanted], host)
    found = []
    for (order, use, scenario), trace in zip(wanted, traces, strict=True):
        if trace.end is not End.DONE or not agrees(scenario, host, trace):
            why[order.name, use] = "not saved: the kernel did what the model does not expect"
            continue
        vcpu = ModelRun(host).walked(scenario)[-1].step.machine.vcpu(VCPU)
        brand = preflight.facts["cpu"]["brand"]
        guest = saved(host, scenario, trace, vcpu, target=place.target, processor=brand)
        found.append(MovedGuest(place.target.release, host, order, use, guest, vcpu))
    return found, why


def restore_all(place: Place, guests: Iterable[MovedGuest]) -> list[Cell]:
    """Restore each guest, in the order in which it was saved.

    :raises Unavailable: KVM cannot be used there
    """
    cells: list[Cell] = []
    with place.open() as link:
        driver = Driver(link, place.timing)
        host = examine(driver).profile
        wanted: list[tuple[MovedGuest, Resumption]] = []
        for moved in guests:
            try:
                wanted.append((moved, trying(moved.guest, moved.order, host)))
            except KvmprobeError as error:
                cells.append(_cell(moved, place, why_not=str(error)))
        traces = _traces(driver, [tried.scenario for _, tried in wanted], host)
    for (moved, tried), trace in zip(wanted, traces, strict=True):
        ran = trace.end is End.DONE and agrees(tried.scenario, host, trace)
        cells.append(
            _cell(
                moved,
                place,
                why_not="" if trace.steps else trace.end_note,
                predicted=predicted(moved, host),
                seen=_fared(tried),
                agrees=ran,
            )
        )
    return cells


def _fared(tried: Resumption) -> Fared:
    if tried.refused:
        return Fared(Fate.REFUSED, tried.refused)
    return Fared(Fate.LOST, pieces=frozenset(tried.lost)) if tried.lost else Fared(Fate.GOES_ON)


def _cell(
    moved: MovedGuest,
    place: Place,
    *,
    why_not: str = "",
    predicted: Fared | None = None,
    seen: Fared | None = None,
    agrees: bool = False,
) -> Cell:
    order, target = moved.order.name, place.target.release
    return Cell(moved.source, target, order, moved.use, why_not, predicted, seen, agrees)


def _traces(driver: Driver, scenarios: Sequence[Scenario], host: HostProfile) -> list[Trace]:
    """Run the scenarios; those after one that the host did not survive have an empty trace."""
    found: list[Trace] = []

    def run() -> Iterator[Trace]:
        requests = [Request(scenario, gate=1) for scenario in scenarios]
        yield from (trace for _, trace in driver.traces(requests, host))

    try:
        found.extend(run())
    except TraceLostError as dead:
        found.append(dead.trace)
    missing = Trace((), End.LOST, "the host had died in an earlier move")
    return [*found, *[missing] * (len(scenarios) - len(found))]
