"""Deterministic contents that a CPU restores and saves unchanged.

No content equals INIT, and each component has its own.  Fields that a CPU may change are zero: FOP
and the x87 pointers (AMD saves them only with an exception pending), the padding after each ST
register, and the upper half of PKRU.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.xstate.features import AVX512, FPSSE, XFeature, has, names, numbers
from kvmprobe.xstate.image import FP_SIZE, SSE_SIZE, XsaveFields, encode, place_of
from kvmprobe.xstate.tiles import tile_configuration

if TYPE_CHECKING:
    from kvmprobe.xstate.layout import Layout

FCW_PATTERN = 0x27F
MXCSR_PATTERN = 0x1FA0
PKRU_PATTERN = 0x5555_5540
_X87_REGISTERS = 8
_COUNTED = AVX512 | XFeature.YMM.bit | XFeature.XTILE_DATA.bit | XFeature.APX.bit
_KNOWN = FPSSE | _COUNTED | XFeature.PKRU.bit | XFeature.XTILE_CFG.bit


def content(nr: int, layout: Layout) -> bytes:
    """Return the pattern of a component.

    :raises LayoutError: it is not in the layout
    :raises ValueError: there is no pattern for it (supervisor state, MPX)
    """
    match nr:
        case XFeature.FP:
            return _x87()
        case XFeature.SSE:
            return counted(nr, SSE_SIZE)
        case XFeature.PKRU:
            return struct.pack("=II", PKRU_PATTERN, 0)
        case XFeature.XTILE_CFG:
            return tile_configuration()
        case _ if has(_COUNTED, nr):
            return counted(nr, layout.component(nr).size)
        case _:
            raise ValueError(f"no pattern for component {names(1 << nr)}")


@lru_cache(maxsize=64)
def counted(nr: int, size: int) -> bytes:
    """Return ``size`` bytes; each 32-bit word has component number and position, and is not 0."""
    return b"".join(
        struct.pack("=I", 0x8000_0000 | nr << 24 | index + 1) for index in range(size // 4)
    )


@lru_cache(maxsize=64)
def image(xstate_bv: int, layout: Layout, size: int, mxcsr_mask: int) -> bytes:
    """Return an image of ``size`` bytes with a pattern in each component of ``xstate_bv``.

    Components without a pattern, or that end after ``size``, are zero.

    :param mxcsr_mask: the value that XSAVE of this CPU stores
    """
    present = numbers(xstate_bv & patterned(layout))
    placed = [nr for nr in present if place_of(nr, layout)[-1].stop <= size]
    return encode(
        XsaveFields(
            xstate_bv=xstate_bv,
            contents={nr: content(nr, layout) for nr in placed},
            mxcsr=MXCSR_PATTERN,
            mxcsr_mask=mxcsr_mask,
        ),
        layout,
        size,
    )


def patterned(layout: Layout) -> int:
    """Return the components in the layout that have a pattern."""
    return layout.bitmap & _KNOWN


def _x87() -> bytes:
    fcw_fsw_ftw = struct.pack("=HHBx", FCW_PATTERN, 0, 0xFF)
    registers = b"".join(
        struct.pack("=QH6x", 0x8000_0000_0000_0000 | nr + 1, 0x3FFF + nr)
        for nr in range(_X87_REGISTERS)
    )
    environment = fcw_fsw_ftw + bytes(FP_SIZE - len(fcw_fsw_ftw) - len(registers))
    return environment + registers
