"""What an op requires of the ops before it: declared with the op, checked by ``domain``."""

from __future__ import annotations

from enum import Enum


class Requirement(Enum):
    """A condition on which the model knows the answer; its value is the text in a message.

    Every op also requires that its descriptor exists and is of the right kind.
    """

    OPEN = "needs an open descriptor; this one was closed"
    HALT_CODE = "needs a guest that map-halt gave HLT at its reset vector, and no other guest code"
    OUT_CODE = "needs a guest that map-out gave OUT at its reset vector, and that has not run"
    PAYLOAD = "needs a guest with the payload that was mapped last, and its own registers"
    LONG_MODE = "needs a CPUID table with long mode (leaf 0x80000001, EDX bit 29)"
    RUNNABLE = "needs a vCPU whose MP state is RUNNABLE"
    NO_LAPIC = "needs a VM without an irqchip, where HLT exits"
    NO_BREAKPOINT = "needs DR7 without an enabled breakpoint"
    DESCRIPTORS_LEFT = "needs descriptors of its own, which limit-descriptors takes away"
    BOOT_PROCESSOR = "needs id 0 where the VM has an irqchip: others wait to be started"
