"""The CPUID features that need state components."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.xstate.cpuid import (
    AMX_FEATURES,
    IBT_BIT,
    PKU_BIT,
    SHSTK_BIT,
    XFD_BIT,
    Register,
)
from kvmprobe.xstate.features import AVX512, CET, MPX, XTILE, XFeature

if TYPE_CHECKING:
    from collections.abc import Mapping

Place = tuple[int, int, Register]
"""A register of a leaf and sub-leaf."""
_EAX, _EBX, _ECX, _EDX = Register.EAX, Register.EBX, Register.ECX, Register.EDX


def _bits(*positions: int) -> int:
    return sum(1 << position for position in positions)


GATED: Mapping[int, tuple[tuple[int, int, Register, int], ...]] = {
    XTILE: (
        (7, 0, _EDX, AMX_FEATURES),
        (7, 1, _EAX, _bits(21)),
        (7, 1, _EDX, _bits(8)),
        (0xD, 1, _EAX, _bits(XFD_BIT)),
    ),
    AVX512: (
        (7, 0, _EBX, _bits(16, 17, 21, 26, 27, 28, 30, 31)),
        (7, 0, _ECX, _bits(1, 6, 11, 12, 14)),
        (7, 0, _EDX, _bits(2, 3, 8, 23)),
        (7, 1, _EAX, _bits(5)),
        (7, 1, _EDX, _bits(19)),
    ),
    XFeature.YMM.bit: (
        (1, 0, _ECX, _bits(12, 28, 29)),
        (7, 0, _EBX, _bits(5)),
        (7, 0, _ECX, _bits(9, 10)),
        (7, 1, _EAX, _bits(0, 1, 2, 4, 23)),
        (7, 1, _EDX, _bits(4, 5, 10)),
    ),
    MPX: ((7, 0, _EBX, _bits(14)),),
    XFeature.PKRU.bit: ((7, 0, _ECX, _bits(PKU_BIT)),),
    XFeature.APX.bit: ((7, 1, _EDX, _bits(21)),),
    CET: ((7, 0, _ECX, _bits(SHSTK_BIT)), (7, 0, _EDX, _bits(IBT_BIT))),
}
"""For each set of components, what needs it: leaf, sub-leaf, register, bits.

Of leaf 7: AVX-512 and AVX10; AVX2, VAES, VPCLMULQDQ and the later AVX features.

:see: SDM vol.2 CPUID; vol.1 §13.5 "XSAVE-Enabled Features"
"""
