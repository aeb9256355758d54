"""One stop of a guest that goes from host to host: it checks itself, lives on, and is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.moves.guests import Use
from kvmprobe.moves.resuming import trying
from kvmprobe.moves.saving import fills, reads
from kvmprobe.scenarios.ops.guest_control import GuestWrmsr
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import DYNAMIC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.moves.cells import MovedGuest
    from kvmprobe.moves.restoring import Into
    from kvmprobe.scenarios.model_run import ModelRun
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.presets import Preset
    from kvmprobe.xstate.cpuid import CpuidTable

_OF_AMX = (Use.TILES, Use.ARMED, Use.IN_NM)


def next_uses(use: Use) -> tuple[Use, ...]:
    """Return the uses that a guest can change to."""
    return _OF_AMX if use in _OF_AMX else (use,)


def stop(
    moved: MovedGuest, model_run: ModelRun, into: Into, order: Preset, use: Use
) -> Scenario | None:
    """Return what a guest does on a host, after which it is in use of another kind.

    :param model_run: of the host
    :param order: in which it is saved afterwards
    :returns: None if it does not go on there with all that it had
    :raises NotTaken: the model does not cover a call
    :raises UsageError: the file lacks what its order restores
    """
    tried = trying(moved.guest, moved.order, model_run, into)
    if tried.refused or tried.fatal or tried.lost:
        return None
    host = model_run.host
    after = (*_lives(host, moved.guest.table, use), *reads(host, order))
    steps = (*tried.scenario.steps, *map(ScenarioStep, after))
    needs = tried.scenario.needs
    return Scenario(f"walk.{moved.order.name}.{moved.use}", order.name, use, steps, needs)


def _lives(host: HostProfile, table: CpuidTable, use: Use) -> Iterator[Op]:
    if use is not Use.NO_TILES and table.xcr0 & DYNAMIC:
        yield from (GuestWrmsr(index, 0) for index in (Msr.IA32_XFD_ERR, Msr.IA32_XFD))
    yield from fills(host, table.xcr0 & host.kvm_xcr0, use)
