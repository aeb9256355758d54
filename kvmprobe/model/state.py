"""The kinds of vCPU state that one pair of ioctls moves."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What one pair of ioctls moves."""

    REGS = "KVM_REGS"
    EVENTS = "KVM_VCPU_EVENTS"
    MP_STATE = "KVM_MP_STATE"
    DEBUGREGS = "KVM_DEBUGREGS"
    LAPIC = "KVM_LAPIC"
