"""Encodings of FPU instructions that are nearly valid (SDM vol.2 §2.1, §2.3 and §2.7).

KVM intercepts #UD: it decodes the instruction, finds that it does not emulate it, and passes the
exception on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.errors import NotModelled
from kvmprobe.model.control import Cr0, Cr4
from kvmprobe.model.guest import Fault, Vector
from kvmprobe.model.rule import KernelFile, KernelSource, ManualSource, Rule

if TYPE_CHECKING:
    from kvmprobe.model.guest import Guest

# KVM intercepts #UD and leaves #GP to the guest.
_PASSED_ON = KernelSource(KernelFile.KVM_VMX, "vmx_update_exception_bitmap")
UNDEFINED = Rule(
    "an encoding that the manual reserves is #UD and changes nothing",
    ("INV-36",),
    (
        ManualSource(2, "2.3", "Intel Advanced Vector Extensions (Intel AVX)"),
        ManualSource(2, "2.7", "Intel AVX-512 Encoding"),
        KernelSource(KernelFile.KVM_X86, "handle_ud"),
    ),
)


def undefined(guest: Guest) -> Guest:
    """Execute a reserved encoding: #UD.

    :raises NotModelled: the instruction would be #NM as well: the order of exceptions of one class
        is the processor's choice
    :see: SDM vol.3 §6.9 "Priority Among Simultaneous Exceptions and Interrupts"
    """
    if guest.vcpu.cr0 & (Cr0.TS | Cr0.EM) or guest.vcpu.xfd:
        raise NotModelled("a reserved encoding of an instruction that may be #NM as well")
    raise Fault(Vector.UD)


TOO_LONG = Rule(
    "an instruction of more than 15 bytes is #GP",
    ("INV-36",),
    (ManualSource(2, "2.3.11", "AVX Instruction Length"), _PASSED_ON),
)


def too_long(_guest: Guest) -> Guest:
    """Execute an instruction of more than 15 bytes: #GP.

    :see: SDM vol.3 §6.15 "Interrupt 13—General Protection Exception (#GP)"
    """
    raise Fault(Vector.GP)


MISALIGNED = Rule(
    "MOVAPS and FXSAVE of an operand that is not aligned are #GP",
    ("INV-36",),
    (ManualSource(2, "MOVAPS"), ManualSource(2, "FXSAVE"), _PASSED_ON),
)


def misaligned(guest: Guest) -> Guest:
    """MOVAPS or FXSAVE of an operand that is not aligned to 16 bytes: #GP.

    :raises NotModelled: the instruction would be #UD or #NM
    :see: SDM vol.2 MOVAPS, FXSAVE
    """
    if guest.vcpu.cr0 & (Cr0.TS | Cr0.EM) or not guest.vcpu.cr4 & Cr4.OSFXSR.bit:
        raise NotModelled(
            "an operand that is not aligned, of an instruction that may be #NM or #UD"
        )
    raise Fault(Vector.GP)
