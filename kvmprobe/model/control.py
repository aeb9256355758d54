"""Bits of the control registers and of IA32_EFER."""

from __future__ import annotations

from enum import IntEnum

# SDM vol.3 §2.2.1 "Extended Feature Enable Register"
EFER_SCE, EFER_LME, EFER_LMA, EFER_NX = 1, 1 << 8, 1 << 10, 1 << 11
EFER_COMMON = EFER_SCE | EFER_LME | EFER_LMA | EFER_NX
# Bits that no CPU defines: all but SCE, LME, LMA and NXE there, and SVME, LMSLE, FFXSR, TCE,
# MCOMMIT, INTWB and AIBRSE (AMD64 Architecture Programmer's Manual, vol.2 §3.1.7 "Extended
# Feature Enable Register (EFER)").
EFER_RESERVED = (
    ~sum(1 << nr for nr in (0, 8, 10, 11, 12, 13, 14, 15, 17, 18, 20, 21)) & (1 << 64) - 1
)
# PE, MP, EM, TS, ET, NE, WP, AM, NW, CD, PG: SDM vol.3 §2.5 "Control Registers".
CR0_DEFINED = 0xE005_003F
# Bits of CR4 that stand for no CPUID bit that KVM looks at: VME to PCE, OSFXSR and OSXMMEXCPT.
CR4_ALWAYS = (1 << 11) - 1


class Cr0(IntEnum):
    """Bits of CR0 (SDM vol.3 §2.5 "Control Registers")."""

    PE = 1
    MP = 1 << 1
    EM = 1 << 2
    TS = 1 << 3
    ET = 1 << 4
    NE = 1 << 5
    WP = 1 << 16
    NW = 1 << 29
    CD = 1 << 30
    PG = 1 << 31


class Cr4(IntEnum):
    """Bits of CR4 by number (SDM vol.3 §2.5 "Control Registers")."""

    PAE = 5
    PGE = 7
    OSFXSR = 9
    OSXMMEXCPT = 10
    UMIP = 11
    LA57 = 12
    VMXE = 13
    SMXE = 14
    FSGSBASE = 16
    PCIDE = 17
    OSXSAVE = 18
    KEY_LOCKER = 19
    SMEP = 20
    SMAP = 21
    PKE = 22
    CET = 23
    LAM_SUP = 28

    def __init__(self, nr: int) -> None:
        self.bit = 1 << nr
        """The value with this bit alone."""
