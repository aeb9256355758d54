"""Events of a vCPU, its run state and debug control: ``struct kvm_vcpu_events`` and constants."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from kvmprobe.abi import ioctls
from kvmprobe.bindings.structures import Structure


class MpState(IntEnum):
    """``kvm_mp_state.mp_state`` (linux/kvm.h): the values that x86 uses."""

    RUNNABLE = 0
    UNINITIALIZED = 1
    INIT_RECEIVED = 2
    HALTED = 3
    SIPI_RECEIVED = 4
    AP_RESET_HOLD = 9


@dataclass(slots=True)
class ExceptionEvent(Structure):
    """A pending or injected exception.

    :ivar nr: its vector
    """

    injected: int = 0
    nr: int = 0
    has_error_code: int = 0
    pending: int = 0
    error_code: int = 0


@dataclass(slots=True)
class InterruptEvent(Structure):
    """An injected interrupt.

    :ivar shadow: 1 after STI, 2 after MOV SS, if EventFlag.SHADOW is set
    """

    injected: int = 0
    nr: int = 0
    soft: int = 0
    shadow: int = 0


@dataclass(slots=True)
class NmiEvent(Structure):
    """A pending or injected NMI, and whether NMIs are blocked."""

    injected: int = 0
    pending: int = 0
    masked: int = 0


@dataclass(slots=True)
class SmiEvent(Structure):
    """System management mode; valid if EventFlag.SMM is set."""

    smm: int = 0
    pending: int = 0
    smm_inside_nmi: int = 0
    latched_init: int = 0


@dataclass(slots=True)
class TripleFaultEvent(Structure):
    """A pending triple fault; valid if EventFlag.TRIPLE_FAULT is set."""

    pending: int = 0


@dataclass(slots=True)
class VcpuEvents(Structure):
    """Exceptions, interrupts, NMIs and SMIs that are pending or injected.

    :ivar flags: of :class:`~kvmprobe.abi.numbers.EventFlag`
    """

    layout = ioctls.KVM_VCPU_EVENTS

    exception: ExceptionEvent = field(default_factory=ExceptionEvent)
    interrupt: InterruptEvent = field(default_factory=InterruptEvent)
    nmi: NmiEvent = field(default_factory=NmiEvent)
    sipi_vector: int = 0
    flags: int = 0
    smi: SmiEvent = field(default_factory=SmiEvent)
    triple_fault: TripleFaultEvent = field(default_factory=TripleFaultEvent)
    exception_has_payload: int = 0
    exception_payload: int = 0
