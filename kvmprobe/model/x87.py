"""What a save by hardware keeps of x87 state, and what it leaves open."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.model.freedom import Freedom
from kvmprobe.model.outcome import Unspecified
from kvmprobe.xstate.image import significant_x87
from kvmprobe.xstate.layout import X87_ENVIRONMENT, X87_REGISTERS

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile

_POINTERS = range(6, 24)
_FOP_LARGEST = 0x7FF
# Addresses that are canonical with 48 bits, and so with 57: bits 63 to 47 are equal.
_LOWER_HALF_END, _UPPER_HALF = 1 << 47, (1 << 64) - (1 << 47)
# FCW bits 6, 7 and 13 to 15, and the byte after FTW; bit 6 of FCW reads as 1.
_RESERVED = b"\xc0\xe0\x00\x00\x00\xff"
_FCW_ALWAYS = 0x40
_ST_PADDING = (bytes(10) + b"\xff" * 6) * 8


def kept(host: HostProfile, content: bytes) -> bytes:
    """Return an FP content with only those fields that a load and a save keep on this host.

    :see: SDM vol.1 §13.5.1 "x87 State"
    """
    significant = significant_x87(content)
    if not _keeps_pointers(host, content):
        return significant
    start, end = _POINTERS.start, _POINTERS.stop
    return significant[:start] + content[start:end] + significant[end:]


def _keeps_pointers(host: HostProfile, content: bytes) -> bool:
    fop, fip, fdp = (
        int.from_bytes(content[start:end], "little") for start, end in ((6, 8), (8, 16), (16, 24))
    )
    return host.keeps_x87_pointers and fop <= _FOP_LARGEST and _canonical(fip) and _canonical(fdp)


def _canonical(address: int) -> bool:
    return address < _LOWER_HALF_END or address >= _UPPER_HALF


def open_pointers(host: HostProfile, content: bytes) -> tuple[Unspecified, ...]:
    """Return FOP, FIP and FDP if a save need not write what a content has; places of an image.

    :see: SDM vol.1 §13.5.1 "x87 State"
    """
    known = not any(content[_POINTERS.start : _POINTERS.stop]) or _keeps_pointers(host, content)
    bits = b"\xff" * len(_POINTERS)
    return () if known else (Unspecified(_POINTERS.start, bits, Freedom.X87_POINTERS),)


@lru_cache(maxsize=256)
def unspecified(host: HostProfile, content: bytes) -> tuple[Unspecified, ...]:
    """Return what hardware need not keep of an FP content; places as in an XSAVE image.

    A reserved bit is kept or cleared.

    :see: SDM vol.1 table 10-2 "Format of an FXSAVE Area"
    """
    found: list[Unspecified] = []
    significant = significant_x87(content)
    head = len(_RESERVED)
    if content[:head] != significant[:head]:
        may_go = bytearray(_both(content[:head], _RESERVED))
        may_go[0] |= _FCW_ALWAYS
        found.append(Unspecified(0, bytes(may_go), Freedom.X87_RESERVED))
    found += open_pointers(host, content)
    may_go = bytearray(_both(content[len(X87_ENVIRONMENT) :], _ST_PADDING))
    if any(may_go):
        found.append(Unspecified(X87_REGISTERS.start, bytes(may_go), Freedom.ST_PADDING))
    return tuple(found)


def _both(one: bytes, other: bytes) -> bytes:
    return bytes(a & b for a, b in zip(one, other, strict=True))
