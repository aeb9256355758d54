"""``struct kvm_fpu`` of asm/kvm.h: the x87 and SSE state of KVM_GET_FPU and KVM_SET_FPU.

No kernel reads or writes its ``mxcsr``.
"""

from __future__ import annotations

from kvmprobe.xstate.image import FP_SIZE, SSE_SIZE
from kvmprobe.xstate.layout import X87_ENVIRONMENT

FPU_SIZE = 416
REGISTERS = range(128)
FCW = range(128, 130)
PADDING = range(133, 134)
POINTERS = range(134, 152)
XMM = range(152, 408)
MXCSR = range(408, 412)
_ENVIRONMENT = len(X87_ENVIRONMENT)
_FTW_RESERVED = 5


def to_area(fp: bytes, sse: bytes) -> bytes:
    """Return the structure for the contents of FP and SSE; all other bytes are zero."""
    environment = bytearray(fp[:_ENVIRONMENT])
    environment[_FTW_RESERVED] = 0
    return (fp[_ENVIRONMENT:FP_SIZE] + bytes(environment) + sse[:SSE_SIZE]).ljust(FPU_SIZE, b"\0")


def from_area(area: bytes) -> tuple[bytes, bytes]:
    """Return the contents of FP and SSE; padding and MXCSR of the structure are ignored.

    ``ftwx`` is a byte, and a word in the FXSAVE area: the reserved byte after it becomes zero.
    """
    environment = bytearray(area[REGISTERS.stop : REGISTERS.stop + _ENVIRONMENT])
    environment[_FTW_RESERVED] = 0
    fp = bytes(environment) + area[: REGISTERS.stop]
    return fp, area[XMM.start : XMM.stop]
