"""Sending an INIT to a vCPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.model import init_signal
from kvmprobe.scenarios.calls import VCPU, Argument, Literal
from kvmprobe.scenarios.ops._base import FixedIoctl, op

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_EVENTS = ioctls.KVM_VCPU_EVENTS
# asm/kvm.h: KVM_VCPUEVENT_VALID_SMM
_VALID_SMM = 8


@op(
    "latch-init",
    ioctls.SET_VCPU_EVENTS,
    init_signal.LATCH_INIT,
    operand="latched_init",
)
class LatchInit(FixedIoctl):
    """Make an INIT pending: KVM_SET_VCPU_EVENTS with smi.latched_init and no other event."""

    def argument(self) -> Argument:
        events = bytearray(_EVENTS.size)
        events[_EVENTS.offset("flags")] = _VALID_SMM
        events[_EVENTS.offset("smi.latched_init")] = 1
        return Literal(bytes(events))

    def refused(self, machine: Machine) -> str:
        return init_signal.cannot_latch(machine.vcpu(VCPU))

    def transition(self, machine: Machine) -> Step:
        return init_signal.latch_init(machine, VCPU)
