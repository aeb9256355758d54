"""Malformed user-space images: KVM_SET_XSAVE refuses, ignores or stores the changed field."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.xstate import patterns
from kvmprobe.xstate.features import XFeature, has, numbers
from kvmprobe.xstate.image import FP_INIT, MXCSR_INIT, init_content, place_of
from kvmprobe.xstate.layout import (
    HEADER_RESERVED,
    MXCSR,
    MXCSR_MASK,
    SOFTWARE_WORD,
    X87_REGISTERS,
    XCOMP_BV,
    XSTATE_BV,
)
from kvmprobe.xstate.tiles import tile_configuration

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.xstate.layout import Layout

_GARBAGE = 0xEE
_FTW_RESERVED = 5
_POINTERS = range(6, 24)
_FCW_FSW = struct.pack("=HH", patterns.FCW_PATTERN, 0)


class Malformation(StrEnum):
    """What is changed in an image of patterns; some have a number as parameter."""

    NONE = "none"
    XCOMP_BV = "xcomp-bv"
    """XCOMP_BV is the number."""
    RESERVED = "reserved"
    """The reserved header byte with that number (of 48) is not zero."""
    MXCSR = "mxcsr"
    """MXCSR is the number."""
    MXCSR_MASK = "mxcsr-mask"
    """MXCSR_MASK is the number."""
    SOFTWARE = "software"
    """The software word is the number."""
    PADDING = "padding"
    """All bytes between the components are not zero."""
    ABSENT = "absent"
    """Components that are not in XSTATE_BV have a pattern as well."""
    INIT = "init"
    """Components in XSTATE_BV have their INIT state, and MXCSR as well."""
    PKRU = "pkru"
    """The eight bytes of PKRU are the number."""
    ST_PADDING = "st-padding"
    """The bytes after each ST register and the byte after FTW are not zero."""
    X87_POINTERS = "x87-pointers"
    """FOP, FIP and FDP are not zero."""
    X87_ADDRESSES = "x87-addresses"
    """FOP, FIP and FDP are not zero, and each a value that the register can have."""
    TILE_CONFIGURATION = "tile-configuration"
    """The palette, the first byte of TILECFG, is the number."""
    RANDOM = "random"
    """Components are random, with the number as seed, except fields that a CPU may change."""


@dataclass(slots=True)
class _Draft:
    """An image that is being built."""

    image: bytearray
    xstate_bv: int
    number: int
    layout: Layout

    def put(self, place: range) -> None:
        """Write the number, truncated to the size of the field."""
        limit = (1 << 8 * len(place)) - 1
        self.image[place.start : place.stop] = (self.number & limit).to_bytes(len(place), "little")

    def write(self, nr: int, content: bytes) -> None:
        """Write a content; the part that layout or image have no space for is left out."""
        if not has(self.layout.bitmap, nr):
            return
        for place in place_of(nr, self.layout):
            if place.stop <= len(self.image):
                self.image[place.start : place.stop] = content[: len(place)]
            content = content[len(place) :]


@lru_cache(maxsize=64)
def malformed_image(
    xstate_bv: int,
    malformation: Malformation,
    number: int,
    layout: Layout,
    size: int,
    mxcsr_mask: int,
) -> bytes:
    """Return an image of ``size`` bytes with this malformation.

    Components that are not in the layout or have no pattern are zero.
    """
    whole = bytearray(patterns.image(xstate_bv, layout, size, mxcsr_mask))
    draft = _Draft(whole, xstate_bv, number, layout)
    _CHANGES[malformation](draft)
    return bytes(draft.image)


def _nothing(draft: _Draft) -> None:
    del draft


def _reserved(draft: _Draft) -> None:
    draft.image[HEADER_RESERVED.start + draft.number % len(HEADER_RESERVED)] = _GARBAGE


def _padding(draft: _Draft) -> None:
    used = [range(416), SOFTWARE_WORD, range(XSTATE_BV.start, HEADER_RESERVED.stop)]
    used += [range(component.offset, component.end) for component in draft.layout.components]
    taken = {offset for place in used for offset in place}
    for offset in set(range(len(draft.image))) - taken:
        draft.image[offset] = _GARBAGE


def _absent(draft: _Draft) -> None:
    for nr in numbers(patterns.patterned(draft.layout) & ~draft.xstate_bv):
        draft.write(nr, patterns.content(nr, draft.layout))


def _init(draft: _Draft) -> None:
    for nr in numbers(patterns.patterned(draft.layout) & draft.xstate_bv):
        draft.write(nr, init_content(nr, draft.layout))
    draft.number = MXCSR_INIT
    draft.put(MXCSR)


def _pkru(draft: _Draft) -> None:
    draft.write(XFeature.PKRU, struct.pack("=Q", draft.number & (1 << 64) - 1))


def _st_padding(draft: _Draft) -> None:
    draft.image[_FTW_RESERVED] = _GARBAGE
    for st in range(8):
        start = X87_REGISTERS.start + 16 * st + 10
        draft.image[start : start + 6] = bytes([_GARBAGE]) * 6


def _x87_pointers(draft: _Draft) -> None:
    draft.image[_POINTERS.start : _POINTERS.stop] = bytes(range(1, len(_POINTERS) + 1))


def _x87_addresses(draft: _Draft) -> None:
    pointers = struct.pack("=HQQ", 0x5D9, 0x7FFF_0123_4567, (1 << 64) - 0x89AB_CDEF)
    draft.image[_POINTERS.start : _POINTERS.stop] = pointers


def _tile_configuration(draft: _Draft) -> None:
    tiles = bytes([draft.number & 0xFF]) + tile_configuration()[1:]
    draft.write(XFeature.XTILE_CFG, tiles)


def _random(draft: _Draft) -> None:
    for nr in numbers(patterns.patterned(draft.layout) & draft.xstate_bv):
        draft.write(nr, random_content(nr, draft.number, draft.layout))


_CHANGES: dict[Malformation, Callable[[_Draft], None]] = {
    Malformation.NONE: _nothing,
    Malformation.XCOMP_BV: lambda draft: draft.put(XCOMP_BV),
    Malformation.RESERVED: _reserved,
    Malformation.MXCSR: lambda draft: draft.put(MXCSR),
    Malformation.MXCSR_MASK: lambda draft: draft.put(MXCSR_MASK),
    Malformation.SOFTWARE: lambda draft: draft.put(SOFTWARE_WORD),
    Malformation.PADDING: _padding,
    Malformation.ABSENT: _absent,
    Malformation.INIT: _init,
    Malformation.PKRU: _pkru,
    Malformation.ST_PADDING: _st_padding,
    Malformation.X87_POINTERS: _x87_pointers,
    Malformation.X87_ADDRESSES: _x87_addresses,
    Malformation.TILE_CONFIGURATION: _tile_configuration,
    Malformation.RANDOM: _random,
}


def random_content(nr: int, seed: int, layout: Layout) -> bytes:
    """Return pseudo-random bytes of a component; the same ``seed`` gives the same bytes.

    Fields that a CPU may change have their pattern: x87 control word, status word and pointers,
    reserved bytes, the tile configuration.
    """
    if nr == XFeature.XTILE_CFG:
        return patterns.content(nr, layout)
    size = len(init_content(nr, layout))
    drawn = hashlib.shake_128(f"{seed} {nr}".encode()).digest(size)
    if nr == XFeature.PKRU:
        return drawn[:4] + bytes(size - 4)
    if nr == XFeature.FP:
        registers = b"".join(drawn[24 + 16 * st : 34 + 16 * st] + bytes(6) for st in range(8))
        return _FCW_FSW + drawn[4:5] + bytes(len(FP_INIT) - 5 - len(registers)) + registers
    return drawn
