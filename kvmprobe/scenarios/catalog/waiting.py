"""Ioctls on a vCPU that another thread runs, by both ways in which KVM_RUN ends then.

Each read is made once during KVM_RUN and again after it: it must return what the guest has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.scenarios.calls import Kick
from kvmprobe.scenarios.catalog._guests import (
    DATA,
    LEGACY,
    OBSERVERS,
    PLAIN,
    TILES,
    USE_XSAVE,
    USE_XSAVE_AND_PKRU,
    all_of,
    run,
    stores,
)
from kvmprobe.scenarios.ops.during_run import (
    GetXcrsDuringRun,
    GetXfdDuringRun,
    GetXsave2DuringRun,
    SetXcrsDuringRun,
    SetXfdDuringRun,
    SetXsaveDuringRun,
)
from kvmprobe.scenarios.ops.guest_control import (
    GuestLdmxcsr,
    GuestRdmsr,
    GuestWrmsr,
    GuestWrpkru,
    GuestXgetbv,
    GuestXsetbv,
)
from kvmprobe.scenarios.ops.guest_nested import GuestEnterL2
from kvmprobe.scenarios.ops.guest_tiles import GuestLdtilecfg, GuestTileloadd, GuestTilestored
from kvmprobe.scenarios.ops.guest_xsave import GuestXrstor
from kvmprobe.scenarios.scenario import NESTED_VMX, Scenario, ScenarioStep

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.catalog._guests import Start
    from kvmprobe.scenarios.ops import Op


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the family."""
    return tuple(scenario for kick in Kick for scenario in _by(host, kick))


def _by(host: HostProfile, kick: Kick) -> tuple[Scenario, ...]:
    plain, every = all_of(host, PLAIN), all_of(host, TILES)
    reads: tuple[Op, ...] = (
        GetXsave2DuringRun(kick),
        GetXcrsDuringRun(kick),
        GetXfdDuringRun(kick),
    )
    enabled = (USE_XSAVE, GuestXsetbv(plain))
    tiled = (USE_XSAVE_AND_PKRU, GuestXsetbv(every), GuestLdtilecfg(), GuestTileloadd(3))
    arms = GuestWrmsr(Msr.IA32_XFD, DATA)
    restored = SetXsaveDuringRun(plain, kick)
    ops: dict[str, tuple[Start, tuple[Op, ...]]] = {
        "began": (PLAIN, (reads[0],)),
        "read": (PLAIN, (*enabled, GuestXrstor(plain), GuestLdmxcsr(0x1FA0), *reads, *stores())),
        "read-tiles": (TILES, (*tiled, GuestWrpkru(0xC), *reads, GuestTilestored(3))),
        "read-armed": (TILES, (*tiled, arms, *reads, GuestTileloadd(3), *reads)),
        "restored": (PLAIN, (*enabled, restored, *stores(), restored, reads[0])),
        "replaced": (PLAIN, (*enabled, GuestXrstor(plain), SetXsaveDuringRun(0, kick), *stores())),
        "xcr0": (PLAIN, (*enabled, SetXcrsDuringRun(LEGACY, kick), GuestXgetbv(), *reads[:2])),
        "armed": (
            TILES,
            (
                *tiled[:-1],
                SetXfdDuringRun(DATA, kick),
                GuestTileloadd(3),
                GuestRdmsr(Msr.IA32_XFD_ERR),
                SetXfdDuringRun(0, kick),
                *run(PayloadOp.STTILECFG),
                GuestTileloadd(3),
                GuestTilestored(3),
            ),
        ),
        "tiles-restored": (
            TILES,
            (*tiled, SetXsaveDuringRun(every, kick), GuestTilestored(3), *reads),
        ),
    }
    in_l2 = (*tiled, GuestEnterL2(), GuestWrpkru(0xC), *reads, SetXsaveDuringRun(every, kick))
    return (
        *(_scenario(row, kick, start, made) for row, (start, made) in ops.items()),
        _scenario("l2", kick, TILES, (*in_l2, GuestTilestored(3), *reads)),
    )


def _scenario(row: str, kick: Kick, start: Start, ops: tuple[Op, ...]) -> Scenario:
    steps = (
        *(ScenarioStep(op) for op in start.ops),
        *(ScenarioStep(op, OBSERVERS) for op in ops),
    )
    nested = NESTED_VMX if any(isinstance(op, GuestEnterL2) for op in ops) else frozenset()
    name = f"waiting.{row}.{start.part}-{kick}"
    return Scenario(name, row, f"{start.part}-{kick}", steps, start.needs | nested)
