"""State components by number, and bitmaps of them (SDM vol.1 §13.1 "XSAVE-Supported Features")."""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class XFeature(IntEnum):
    """State-component numbers: bits of XCR0, IA32_XSS, XSTATE_BV, XCOMP_BV and IA32_XFD."""

    FP = 0
    SSE = 1
    YMM = 2
    BNDREGS = 3
    BNDCSR = 4
    OPMASK = 5
    ZMM_HI256 = 6
    HI16_ZMM = 7
    PT = 8
    PKRU = 9
    PASID = 10
    CET_USER = 11
    CET_KERNEL = 12
    HDC = 13
    UINTR = 14
    LBR = 15
    HWP = 16
    XTILE_CFG = 17
    XTILE_DATA = 18
    APX = 19

    def __init__(self, nr: int) -> None:
        self.bit = 1 << nr
        """The bitmap of this component."""


FPSSE = XFeature.FP.bit | XFeature.SSE.bit
SSE_YMM = XFeature.SSE.bit | XFeature.YMM.bit
MPX = XFeature.BNDREGS.bit | XFeature.BNDCSR.bit
AVX512 = XFeature.OPMASK.bit | XFeature.ZMM_HI256.bit | XFeature.HI16_ZMM.bit
XTILE = XFeature.XTILE_CFG.bit | XFeature.XTILE_DATA.bit
CET = XFeature.CET_USER.bit | XFeature.CET_KERNEL.bit
DYNAMIC = XFeature.XTILE_DATA.bit
_NAMES = {int(feature): feature.name for feature in XFeature}


def has(bitmap: int, nr: int) -> bool:
    """Return True if a bitmap has a component."""
    return bool(bitmap >> nr & 1)


def bitmap_of(components: Iterable[int]) -> int:
    """Return the bitmap of some component numbers, each of them once."""
    return sum(1 << nr for nr in components)


@lru_cache(maxsize=1024)
def numbers(bitmap: int) -> tuple[int, ...]:
    """Return the component numbers in a bitmap, ascending."""
    return tuple(nr for nr in range(bitmap.bit_length()) if has(bitmap, nr))


def names(bitmap: int) -> str:
    """Return ``0x60000 (XTILE_CFG|XTILE_DATA)``; an unknown bit is shown as its number."""
    parts = [_NAMES.get(nr, str(nr)) for nr in numbers(bitmap)]
    return f"{bitmap:#x} ({'|'.join(parts)})" if parts else "0"
