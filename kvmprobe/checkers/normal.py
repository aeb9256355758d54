"""Images without the bits that may change when the processor loads and saves the FPU state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.checkers.event import xstate_bv
from kvmprobe.xstate.features import SSE_YMM, XFeature, numbers
from kvmprobe.xstate.image import FCW_ALWAYS, FCW_DEFINED, MXCSR_INIT, decode, is_init
from kvmprobe.xstate.layout import MXCSR, MXCSR_MASK, XMM_REGISTERS, XSTATE_BV

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.xstate.layout import Layout

# A reserved byte (SDM vol.1 §10.5.1 "FXSAVE Area"), then FOP, FIP and FDP: AMD saves them only with
# an exception pending.
_POINTERS = range(5, 24)
_ST_PADDING = [32 + 16 * st + byte for st in range(8) for byte in range(10, 16)]


def normal_image(first: bytes, second: bytes, host: HostProfile) -> tuple[bytes, bytes]:
    """Return two images without the bits that a load and a save may change.

    A component in its INIT state may have its XSTATE_BV bit set or clear; PKRU's bit follows the
    host's.  MXCSR comes with SSE: without its bit the next load gives INIT, and what the image has
    there is that or an earlier value, as the save decides.  SSE and AVX state that is INIT in one
    image alone may be what an AMD processor left in the other.

    :see: contract §7.5; SDM vol.1 §13.6 "Processor Tracking of XSAVE-Managed State", §13.11
        "Operation of XSAVES"
    """
    stored = xstate_bv(first) & xstate_bv(second)
    layout = host.layout
    if host.may_leave_avx:
        initial = SSE_YMM & (_not_init(first, layout) ^ _not_init(second, layout))
        first, second = (_without(image, initial, layout) for image in (first, second))
    return _normal(first, stored, layout), _normal(second, stored, layout)


def _not_init(image: bytes, layout: Layout) -> int:
    fields = decode(image, layout)
    return sum(
        1 << nr
        for nr in numbers(fields.xstate_bv)
        if nr in fields.contents and not is_init(nr, fields.contents[nr], layout)
    )


def _without(image: bytes, components: int, layout: Layout) -> bytes:
    """Return the image with some components in INIT."""
    changed = bytearray(image)
    bits = xstate_bv(image) & ~components
    changed[XSTATE_BV.start : XSTATE_BV.stop] = bits.to_bytes(8, "little")
    if components & XFeature.SSE.bit:
        changed[XMM_REGISTERS.start : XMM_REGISTERS.stop] = bytes(len(XMM_REGISTERS))
    if components & XFeature.YMM.bit:
        place = layout.component(XFeature.YMM)
        changed[place.offset : place.end] = bytes(place.size)
    return bytes(changed)


def _normal(image: bytes, stored: int, layout: Layout) -> bytes:
    normal = bytearray(image)
    fields = decode(image, layout)
    bits = _not_init(image, layout)
    if not stored & XFeature.PKRU.bit and fields.xstate_bv & XFeature.PKRU.bit:
        bits &= ~XFeature.PKRU.bit
        place = layout.component(XFeature.PKRU)
        normal[place.offset : place.end] = bytes(place.size)
    normal[XSTATE_BV.start : XSTATE_BV.stop] = bits.to_bytes(8, "little")
    fcw = int.from_bytes(normal[:2], "little")
    normal[:2] = (fcw & FCW_DEFINED | FCW_ALWAYS).to_bytes(2, "little")
    for offset in (*_POINTERS, *MXCSR_MASK, *_ST_PADDING):
        normal[offset] = 0
    if not fields.xstate_bv & XFeature.SSE.bit:
        normal[MXCSR.start : MXCSR.stop] = MXCSR_INIT.to_bytes(4, "little")
    return bytes(normal)
