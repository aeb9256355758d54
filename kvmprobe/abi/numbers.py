"""Capabilities, arch_prctl codes, MSR indices and exit reasons.  Pure."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from functools import lru_cache

from kvmprobe.abi.capabilities import Capability


class KvmCap(IntEnum):
    """The capabilities that the model knows."""

    EXT_CPUID = Capability.EXT_CPUID
    XSAVE = Capability.XSAVE
    XCRS = Capability.XCRS
    EXT_EMUL_CPUID = Capability.EXT_EMUL_CPUID
    IMMEDIATE_EXIT = Capability.IMMEDIATE_EXIT
    XSAVE2 = Capability.XSAVE2
    SYS_ATTRIBUTES = Capability.SYS_ATTRIBUTES


class ArchPrctlCode(IntEnum):
    """XCOMP requests of arch_prctl(2) (asm/prctl.h).

    GET_* take a pointer to a u64 bitmap, REQ_* the number of a feature.
    """

    GET_XCOMP_SUPP = 0x1021
    GET_XCOMP_PERM = 0x1022
    REQ_XCOMP_PERM = 0x1023
    GET_XCOMP_GUEST_PERM = 0x1024
    REQ_XCOMP_GUEST_PERM = 0x1025


class Msr(IntEnum):
    """MSR indices (SDM vol. 4, table "IA-32 Architectural MSRs")."""

    IA32_SYSENTER_CS = 0x174
    IA32_XFD = 0x1C4
    IA32_XFD_ERR = 0x1C5
    IA32_PAT = 0x277
    IA32_U_CET = 0x6A0
    IA32_S_CET = 0x6A2
    IA32_PL0_SSP = 0x6A4
    IA32_PL1_SSP = 0x6A5
    IA32_PL2_SSP = 0x6A6
    IA32_PL3_SSP = 0x6A7
    IA32_INT_SSP_TAB = 0x6A8
    IA32_XSS = 0xDA0


@lru_cache(maxsize=1024)
def msr_name(index: int) -> str:
    """Return the name by which an MSR's value is reported.

    :see: SDM vol.4 table 2-2 "IA-32 Architectural MSRs"
    """
    return Msr(index).name.removeprefix("IA32_") if index in set(Msr) else f"MSR {index:#x}"


# IA32_VMX_BASIC to IA32_VMX_VMFUNC: SDM vol.3 appendix A "VMX Capability Reporting Facility".
VMX_MSRS = range(0x480, 0x492)


class KvmExit(IntEnum):
    """``kvm_run.exit_reason`` (linux/kvm.h)."""

    UNKNOWN = 0
    IO = 2
    HYPERCALL = 3
    DEBUG = 4
    HLT = 5
    MMIO = 6
    IRQ_WINDOW_OPEN = 7
    SHUTDOWN = 8
    FAIL_ENTRY = 9
    INTR = 10
    INTERNAL_ERROR = 17
    SYSTEM_EVENT = 24
    IOAPIC_EOI = 26
    X86_RDMSR = 29
    X86_WRMSR = 30
    DIRTY_RING_FULL = 31
    X86_BUS_LOCK = 33
    NOTIFY = 37
    MEMORY_FAULT = 39


class EventFlag(IntFlag):
    """``kvm_vcpu_events.flags`` (asm/kvm.h): which optional fields are valid."""

    NMI_PENDING = 1
    SIPI_VECTOR = 2
    SHADOW = 4
    SMM = 8
    PAYLOAD = 16
    TRIPLE_FAULT = 32


class InternalError(IntEnum):
    """``kvm_run.internal.suberror`` (linux/kvm.h)."""

    EMULATION = 1
    SIMUL_EX = 2
    DELIVERY_EV = 3
    UNEXPECTED_EXIT_REASON = 4


def exit_name(reason: int) -> str:
    """Return ``KVM_EXIT_HLT`` for 5, ``KVM_EXIT_99`` for an unlisted 99."""
    return f"KVM_EXIT_{KvmExit(reason).name if reason in set(KvmExit) else reason}"


U32_MAX = 0xFFFF_FFFF
# asm-generic/errno.h; the errno module has it from Python 3.14.
EHWPOISON = 133
KVM_X86_XCOMP_GUEST_SUPP = 0
KVM_MAX_CPUID_ENTRIES = 256
KVM_CPUID_FLAG_SIGNIFICANT_INDEX = 1

# The first instruction after reset (SDM vol.3 §11.1.4 "First Instruction Executed"): guest-physical
# address of its page, and its offset in the page.
RESET_PAGE = 0xFFFF_F000
RESET_VECTOR = 0xFF0
# HLT, and a jump back to it, so that the guest halts at each entry.
HALT = b"\xf4\xeb\xfd"
