"""Transitions of the model that a scenario makes: state before, op, outcome, state after.

States and outcomes are classes: what a vCPU's FPU state is, not its bytes.  A scenario with a
transition that no other had is worth varying.  The model tells before anything runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.errors import ScenarioError
from kvmprobe.model.outcome import Done, Failed, NotCovered
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.references import Unkept
from kvmprobe.xstate.features import AVX512, CET, DYNAMIC, FPSSE, XFeature

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu
    from kvmprobe.model.outcome import Outcome, Step
    from kvmprobe.scenarios.ops import Op

_GROUPS = (
    FPSSE,
    XFeature.YMM.bit,
    AVX512,
    XFeature.PKRU.bit,
    XFeature.XTILE_CFG.bit,
    XFeature.XTILE_DATA.bit,
    CET,
)
# CR4: OSXSAVE, PKE, CET.
_CR4 = 1 << 18 | 1 << 22 | 1 << 23


def transition(before: Machine, op: Op, step: Step) -> int:
    """Return a transition, as a number that is the same for equal ones in one process."""
    states = (_state(machine, op.descriptor) for machine in (before, step.machine))
    return hash((*states, op.name, _answer(step.outcome)))


class Trail:
    """The domain of a sequence that is being made, and the transitions that it has made.

    :ivar unkept: the output that the last op would have written back, if no op has kept it
    """

    def __init__(self, host: HostProfile) -> None:
        self._domain = Domain(host)
        self.reached: set[int] = set()
        self.unkept = ""

    @property
    def machine(self) -> Machine:
        """The model's state."""
        return self._domain.machine

    def takes(self, op: Op) -> bool:
        """Add an op if the model can judge it here; return whether it can."""
        return self._takes(op, self._domain.follow)

    def takes_change(self, op: Op) -> bool:
        """Add an op if it also changes the model's state; return whether it was added."""
        return self._takes(op, self._domain.follow_change)

    def _takes(self, op: Op, follow: Callable[[Op], Step | None]) -> bool:
        before = self._domain.machine
        self.unkept = ""
        try:
            step = follow(op)
        except ScenarioError as refused:
            self.unkept = refused.name if isinstance(refused, Unkept) else ""
            return False
        if step is None:
            return False
        self.reached.add(transition(before, op, step))
        return True


def _answer(outcome: Outcome) -> Hashable:
    match outcome:
        case Failed(errno):
            return errno
        case Done(value=value):
            return "done", min(value, 1)
        case NotCovered(example=example):
            return "not covered", type(example).__name__
        case _:
            return type(outcome).__name__


def _state(machine: Machine, name: str) -> Hashable:
    vcpu = machine.vcpus.get(name)
    shared = machine.guest_perm & DYNAMIC, machine.perm_locked, bool(machine.doubt)
    return shared, vcpu and _of_vcpu(vcpu)


def _of_vcpu(vcpu: Vcpu) -> Hashable:
    fpstate = vcpu.fpstate
    return (
        None if vcpu.cpuid is None else (_groups(vcpu.cpuid.xcr0), bool(vcpu.cpuid.xss)),
        _groups(vcpu.xcr0),
        bool(vcpu.xss),
        vcpu.xfd & DYNAMIC,
        vcpu.xfd_err & DYNAMIC,
        vcpu.cr4 & _CR4,
        (vcpu.ran, vcpu.entered, vcpu.init_pending, vcpu.sipi_pending),
        (vcpu.in_payload, vcpu.lapic),
        (_groups(fpstate.xstate_bv), bool(fpstate.xstate_bv_open), fpstate.saved),
        (bool(fpstate.stale), bool(fpstate.user_xfeatures & DYNAMIC)),
    )


def _groups(components: int) -> tuple[bool, ...]:
    return tuple(bool(components & group) for group in _GROUPS)
