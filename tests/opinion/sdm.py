"""What the SDM says of XCR0, MXCSR and the standard form of the XSAVE area."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.xstate.layout import Layout

X87, SSE, AVX, PKRU, TILE_CONFIG, TILE_DATA = 0, 1, 2, 9, 17, 18
_BOUNDS, _AVX512, _TILES = 0b11 << 3, 0b111 << 5, 0b11 << 17

# Vol.1 table 10-2 "Format of an FXSAVE Area"; 13.4.2 "XSAVE Header".
MXCSR_PLACE = 24
HEADER, HEADER_END = 512, 576
# Vol.1 13.6: MXCSR is 1F80H in its initial configuration; 8.1.5: FCW is 037FH after FNINIT.
MXCSR_INIT = 0x1F80
X87_INIT = b"\x7f\x03" + bytes(150)


def xcr0_is_legal(xcr0: int) -> bool:
    """Return True if XSETBV takes this value on a processor with all of its components.

    :see: SDM vol.1 13.3 "Enabling the XSAVE Feature Set and XSAVE-Enabled Features"
    """
    if not xcr0 >> X87 & 1:
        return False
    if xcr0 >> AVX & 1 and not xcr0 >> SSE & 1:
        return False
    if xcr0 & _AVX512 and not xcr0 >> AVX & 1:
        return False
    return all(xcr0 & group in {0, group} for group in (_BOUNDS, _AVX512, _TILES))


def places(nr: int, layout: Layout) -> Sequence[tuple[int, int]]:
    """Return offset and end of each part of a component, bytes.

    :see: SDM vol.1 13.4.1 "Legacy Region of an XSAVE Area", 13.4.3 "Extended Region"
    """
    if nr == X87:
        return ((0, 24), (32, 160))
    if nr == SSE:
        return ((160, 416),)
    component = layout.component(nr)
    return ((component.offset, component.end),)


def content_of(image: bytes, nr: int, layout: Layout) -> bytes:
    """Return a component's bytes in an image."""
    return b"".join(image[start:end] for start, end in places(nr, layout))


def initial(nr: int, layout: Layout) -> bytes:
    """Return a component's initial configuration (SDM vol.1 13.6)."""
    if nr == X87:
        return X87_INIT
    return bytes(sum(end - start for start, end in places(nr, layout)))


def area_size(components: int, layout: Layout) -> int:
    """Return the bytes of a standard-form area with these components (SDM vol.1 13.4)."""
    ends = [c.end for c in layout.components if components >> c.nr & 1]
    return max([HEADER_END, *ends])
