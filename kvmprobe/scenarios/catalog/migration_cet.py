"""A guest that uses CET is moved with lists of MSRs that have more and more of its state.

A list without IA32_XSS leaves it 0 in the new vCPU: the guest's own XRSTORS of an image with CET
state is #GP there.  A list with IA32_XSS alone loses what CET_USER and CET_KERNEL contain, and SSP
is in no list of MSRs.  No call fails: the kernel is right, and the guest has lost its state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.model.one_reg import GUEST_SSP
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.catalog._guests import AVX, CET_GUEST, USE_XSAVE, run
from kvmprobe.scenarios.catalog._moves import move
from kvmprobe.scenarios.catalog.guest_cet import RESTORE_CET, SAVE_CET, STACKS_ON, TOP
from kvmprobe.scenarios.ops.guest import GuestExecute
from kvmprobe.scenarios.ops.guest_control import GuestRdmsr, GuestWrmsr, GuestXsetbv
from kvmprobe.scenarios.ops.guest_shadow_stack import GuestRdssp
from kvmprobe.scenarios.ops.one_reg import GetOneReg, SetOneReg
from kvmprobe.scenarios.presets import presets
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import CET

if TYPE_CHECKING:
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.ops.guest_xsave import GuestXrstor, GuestXsave
    from kvmprobe.scenarios.presets import Preset

_MOVED = "vcpu1"
READ_MSRS = (
    Msr.IA32_XSS,
    Msr.IA32_U_CET,
    Msr.IA32_S_CET,
    Msr.IA32_PL0_SSP,
    Msr.IA32_PL3_SSP,
)


@dataclass(frozen=True, slots=True)
class State:
    """What the guest does before it is moved.

    :ivar ssp: what a monitor that restores SSP writes
    """

    part: str
    before: tuple[Op, ...]
    ssp: int = 0


_XSTATE = State(
    "cet-state", (USE_XSAVE, GuestXsetbv(AVX), GuestWrmsr(Msr.IA32_XSS, CET), RESTORE_CET)
)
_STACKS = State("shadow-stack", (*STACKS_ON, *run(PayloadOp.CALL), GuestRdssp()), TOP)


def scenarios() -> tuple[Scenario, ...]:
    """Return each state with each order."""
    states = (_XSTATE, _STACKS)
    restoring = [preset for preset in presets() if "cet" in preset.states]
    return tuple(_scenario(preset, state) for preset, state in product(restoring, states))


def _scenario(preset: Preset, state: State) -> Scenario:
    restored: list[Op] = []
    if preset.restores_ssp:
        restored = [SetOneReg(GUEST_SSP, state.ssp, _MOVED)]
    steps = (
        *(ScenarioStep(op) for op in (*CET_GUEST.ops, *state.before)),
        *move(CET_GUEST, preset.parts_with_own_msrs, VCPU, 1),
        *(ScenarioStep(op) for op in (*restored, *_looks(preset, state))),
    )
    return Scenario(
        f"migrate.{preset.name}.{state.part}", preset.name, state.part, steps, CET_GUEST.needs
    )


def _looks(preset: Preset, state: State) -> tuple[Op, ...]:
    """Return what the moved guest reads, and then uses of what it had."""
    reads = (*(GuestRdmsr(index, _MOVED) for index in READ_MSRS), GuestRdssp(0x55, _MOVED))
    uses: tuple[Op, ...] = (GetOneReg(GUEST_SSP, _MOVED),)
    if state is _XSTATE:
        uses += (_on_moved(SAVE_CET), _on_moved(RESTORE_CET), _on_moved(SAVE_CET))
    # Without its SSP the guest shuts down at the first CALL.
    elif preset.restores_ssp:
        uses += (GuestExecute(PayloadOp.CALL, _MOVED),)
    return (*reads, *uses)


def _on_moved(op: GuestXsave | GuestXrstor) -> Op:
    return replace(op, vcpu=_MOVED)
