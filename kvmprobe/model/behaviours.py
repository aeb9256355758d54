"""Named kernel behaviours: where kernels differ, told by probing and never by version.

A *variant* is legal either way; the running kernel's choice becomes part of what is expected.  A
*defect* is never expected: a run with one is a divergence, which the defect then explains.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Whether a behaviour may be expected."""

    VARIANT = "variant"
    DEFECT = "defect"


@dataclass(frozen=True, slots=True)
class Description:
    """What a behaviour is, what changed it, and how it is detected without harm."""

    kind: Kind
    summary: str
    source: str
    detection: str


class Behaviour(Enum):
    """The behaviours the model can take on."""

    KNOWS_APX = Description(
        Kind.VARIANT,
        "XFEATURE_MAX is 20: feature 19 (APX) is known, if not dynamic",
        "arch/x86/include/asm/fpu/types.h: enum xfeature",
        "ARCH_REQ_XCOMP_PERM(19): EOPNOTSUPP where it is known, EINVAL where not",
    )
    SET_XSAVE_KEEPS_XFD_ARMED = Description(
        Kind.DEFECT,
        "KVM_SET_XSAVE keeps XSTATE_BV[i] although XFD[i]=1",
        "Linux commit b45f72177594"
        ' ("x86/fpu: Clear XSTATE_BV[i] in guest XSAVE state whenever XFD[i]=1")',
        "SET_MSRS(XFD=b18); SET_XSAVE(XSTATE_BV[18]=1); GET_XSAVE2 still shows bit 18",
    )
    XFD_WRITE_KEEPS_XSTATE_BV = Description(
        Kind.DEFECT,
        "a host write of XFD keeps XSTATE_BV[i] although XFD[i] becomes 1",
        "arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd, which asks for TIF_NEED_FPU_LOAD",
        "SET_XSAVE(XSTATE_BV[18]=1); SET_MSRS(XFD=b18); GET_XSAVE2 still shows bit 18",
    )
    CPUID_ENABLE_DISCARDS_FPSTATE = Description(
        Kind.DEFECT,
        "the KVM_SET_CPUID2 that first enables XTILE_DATA discards all XSTATE restored before",
        "arch/x86/kernel/fpu/xstate.c: fpstate_realloc, which copies no register contents",
        "SET_XSAVE(XSTATE_BV=FP|SSE); SET_CPUID2(XTILE_DATA); GET_XSAVE2 shows INIT state",
    )
    XTILE_CFG_ADVERTISED_ALONE = Description(
        Kind.DEFECT,
        "without guest permission KVM_GET_SUPPORTED_CPUID has XTILE_CFG without XTILE_DATA",
        "Linux commit 55cd57b596e8"
        ' ("KVM: x86: Filter out XTILE_CFG if XTILE_DATA isn\'t permitted")',
        "KVM_GET_SUPPORTED_CPUID 0xD.0:EAX without permission: bit 17 set, bit 18 clear",
    )

    @property
    def kind(self) -> Kind:
        """Variant or defect."""
        return self.value.kind


Behaviours = frozenset[Behaviour]
DEFECTS: Behaviours = frozenset(b for b in Behaviour if b.kind is Kind.DEFECT)


def variants(behaviours: Behaviours) -> Behaviours:
    """Return what may be expected of a kernel that has ``behaviours``."""
    return behaviours - DEFECTS
