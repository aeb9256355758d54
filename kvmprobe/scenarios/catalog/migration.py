"""A guest continues in another VM, where its state is restored in several orders.

The bytes that the kernel returned are moved, and the guest's memory with them.  There the guest
reads what it had here.  The orders are those of virtual machine monitors, and the two others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.model.guest_migration import Part
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.catalog import migration_cet
from kvmprobe.scenarios.catalog._guests import (
    DATA,
    PLAIN,
    TILES,
    USE_XSAVE,
    USE_XSAVE_AND_PKRU,
    Start,
    all_of,
    run,
    stores,
)
from kvmprobe.scenarios.catalog._moves import move
from kvmprobe.scenarios.ops.guest import GuestExecute
from kvmprobe.scenarios.ops.guest_control import GuestRdmsr, GuestWrmsr, GuestXgetbv, GuestXsetbv
from kvmprobe.scenarios.ops.guest_migration import SaveVcpu
from kvmprobe.scenarios.ops.guest_tiles import GuestLdtilecfg, GuestTileloadd, GuestTilestored
from kvmprobe.scenarios.ops.guest_xsave import GuestFxsave, GuestXrstor, GuestXsave
from kvmprobe.scenarios.presets import presets
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

ORDERS = {preset.moved_as: preset.parts for preset in presets() if preset.moved_as}


@dataclass(frozen=True, slots=True)
class State:
    """What the guest does before it is moved, and after that."""

    part: str
    start: Start
    before: tuple[Op, ...]
    tiles_usable: tuple[int, ...] = ()
    handles_nm: tuple[int, ...] = ()


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the family."""
    found = states(host)
    return (
        *(_scenario(order, state) for order, state in product(ORDERS, found)),
        _twice(found[1]),
        *migration_cet.scenarios(),
    )


def states(host: HostProfile) -> tuple[State, ...]:
    """Return what guests do before they are moved."""
    plain, every = all_of(host, PLAIN), all_of(host, TILES)
    enabled = (USE_XSAVE_AND_PKRU, GuestXsetbv(every))
    arms = GuestWrmsr(Msr.IA32_XFD, DATA)
    loaded = (*enabled, GuestLdtilecfg(), GuestTileloadd(0), GuestTileloadd(6))
    return (
        State("avx512", PLAIN, (USE_XSAVE, GuestXsetbv(plain), GuestXrstor(plain))),
        State("everything", TILES, (*enabled, GuestXrstor(every)), (0, 7)),
        State("tiles", TILES, loaded, (0, 6)),
        State("armed", TILES, (*loaded, arms)),
        State("in-nm", TILES, (*loaded, arms, GuestTileloadd(0)), handles_nm=(0,)),
        State("began", TILES, (USE_XSAVE,)),
    )


def _scenario(order: str, state: State) -> Scenario:
    steps = (
        *(ScenarioStep(op) for op in (*state.start.ops, *state.before)),
        *move(state.start, ORDERS[order], VCPU, 1),
        *(ScenarioStep(op) for op in looks(state, "vcpu1")),
    )
    return _named(order, state, steps)


def _twice(state: State) -> Scenario:
    """Move it to a third VM, without a step in the second."""
    steps = (
        *(ScenarioStep(op) for op in (*state.start.ops, *state.before)),
        *move(state.start, ORDERS["selftests"], VCPU, 1),
        *move(state.start, ORDERS["qemu"], "vcpu1", 2),
        *(ScenarioStep(op) for op in looks(state, "vcpu2")),
    )
    return _named("selftests-qemu", state, steps)


def _named(order: str, state: State, steps: tuple[ScenarioStep, ...]) -> Scenario:
    return Scenario(f"migrate.{order}.{state.part}", order, state.part, steps, state.start.needs)


def looks(
    state: State, vcpu: str, read: tuple[Part, ...] = (Part.XSAVE, Part.XCRS, Part.MSRS)
) -> tuple[Op, ...]:
    """Return what the guest reads, then what ioctls read."""
    files = () if state.part == "began" else stores(vcpu)
    reads_msrs: tuple[Op, ...] = ()
    if state.start is TILES:
        reads_msrs = tuple(GuestRdmsr(index, vcpu) for index in (Msr.IA32_XFD, Msr.IA32_XFD_ERR))
    tiles: tuple[Op, ...] = tuple(GuestTilestored(tile, vcpu) for tile in state.tiles_usable)
    for tile in state.handles_nm:
        tiles += (
            GuestTileloadd(tile, vcpu),
            GuestWrmsr(Msr.IA32_XFD_ERR, 0, vcpu),
            GuestWrmsr(Msr.IA32_XFD, 0, vcpu),
            GuestTileloadd(tile, vcpu),
            GuestTilestored(tile, vcpu),
        )
    codes = (PayloadOp.READ_CR0, PayloadOp.READ_CR4, PayloadOp.STMXCSR)
    return (
        GuestXgetbv(0, vcpu),
        *reads_msrs,
        *(GuestExecute(op.executes, vcpu) for op in run(*codes) if isinstance(op, GuestExecute)),
        *files,
        GuestFxsave(vcpu),
        GuestXsave(vcpu=vcpu),
        *tiles,
        *(SaveVcpu(part, vcpu) for part in read),
    )
