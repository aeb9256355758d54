"""Decoding and encoding standard-format images.

An image is bytes; a *content* is the bytes of one component.  FP is 24 bytes of environment and 128
bytes of registers, without the MXCSR between them; SSE is the 256 bytes of XMM registers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvmprobe.errors import LayoutError
from kvmprobe.xstate.features import XFeature, numbers
from kvmprobe.xstate.layout import (
    EXTENDED_OFFSET,
    HEADER_OFFSET,
    HEADER_RESERVED,
    LEGACY_SIZE,
    MXCSR,
    MXCSR_MASK,
    X87_ENVIRONMENT,
    X87_REGISTERS,
    XMM_REGISTERS,
    Layout,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = struct.Struct("=QQ")

FCW_INIT = 0x37F
MXCSR_INIT = 0x1F80
FP_SIZE = len(X87_ENVIRONMENT) + len(X87_REGISTERS)
SSE_SIZE = len(XMM_REGISTERS)
FCW_DEFINED, FCW_ALWAYS = 0x1F3F, 0x40
# FCW, FSW and FTW of the environment, and the lower 10 bytes of each register's 16.
_SIGNIFICANT_X87 = int.from_bytes(
    FCW_DEFINED.to_bytes(2, "little")
    + (b"\xff" * 3).ljust(len(X87_ENVIRONMENT) - 2, b"\0")
    + (b"\xff" * 10 + bytes(6)) * 8,
    "little",
)
FP_INIT = FCW_INIT.to_bytes(2, "little") + bytes(FP_SIZE - 2)


def init_content(nr: int, layout: Layout) -> bytes:
    """Return a component's INIT state.

    :see: SDM vol.1 §13.6 "Processor Tracking of XSAVE-Managed State"
    """
    if nr == XFeature.FP:
        return FP_INIT
    if nr == XFeature.SSE:
        return _zeros(SSE_SIZE)
    return _zeros(layout.component(nr).size)


@lru_cache(maxsize=64)
def init_contents(bitmap: int, layout: Layout) -> Mapping[int, bytes]:
    """Return the INIT state of each component in ``bitmap``."""
    return MappingProxyType({nr: init_content(nr, layout) for nr in numbers(bitmap)})


@lru_cache(maxsize=32)
def _zeros(size: int) -> bytes:
    return bytes(size)


@dataclass(frozen=True, slots=True)
class XsaveFields:
    """A decoded image: header, MXCSR, and the content of each component."""

    xstate_bv: int = 0
    contents: Mapping[int, bytes] = field(default_factory=dict)
    mxcsr: int = MXCSR_INIT
    mxcsr_mask: int = 0
    xcomp_bv: int = 0
    software_word: int = 0
    reserved: bytes = bytes(len(HEADER_RESERVED))


def encode(fields: XsaveFields, layout: Layout, size: int) -> bytes:
    """Encode an image of ``size`` bytes; components without a content are zero.

    :raises LayoutError: a content has the wrong size, or ends after ``size``
    """
    image = bytearray(size)
    for nr in fields.contents:
        _place(image, nr, fields.contents[nr], layout)
    struct.pack_into("=II", image, MXCSR.start, fields.mxcsr, fields.mxcsr_mask)
    struct.pack_into("=Q", image, 464, fields.software_word)
    _HEADER.pack_into(image, HEADER_OFFSET, fields.xstate_bv, fields.xcomp_bv)
    image[HEADER_RESERVED.start : HEADER_RESERVED.stop] = fields.reserved
    return bytes(image)


@lru_cache(maxsize=128)
def decode(image: bytes, layout: Layout) -> XsaveFields:
    """Decode an image; components that end after it are left out.

    :raises LayoutError: the image is shorter than legacy region and header
    """
    if len(image) < EXTENDED_OFFSET:
        raise LayoutError(
            f"XSAVE image of {len(image)} bytes is too short: the header ends at {EXTENDED_OFFSET}"
        )
    xstate_bv, xcomp_bv = _HEADER.unpack_from(image, HEADER_OFFSET)
    mxcsr, mxcsr_mask = struct.unpack_from("=II", image, MXCSR.start)
    contents = {
        int(XFeature.FP): image[: MXCSR.start] + image[MXCSR_MASK.stop : X87_REGISTERS.stop],
        int(XFeature.SSE): image[XMM_REGISTERS.start : XMM_REGISTERS.stop],
    }
    for component in layout.components:
        if component.end <= len(image):
            contents[component.nr] = image[component.offset : component.end]
    return XsaveFields(
        xstate_bv=xstate_bv,
        contents=contents,
        mxcsr=mxcsr,
        mxcsr_mask=mxcsr_mask,
        xcomp_bv=xcomp_bv,
        software_word=struct.unpack_from("=Q", image, 464)[0],
        reserved=image[HEADER_RESERVED.start : HEADER_RESERVED.stop],
    )


def xstate_bv_of(image: bytes) -> int:
    """Return the XSTATE_BV field of an image."""
    return int.from_bytes(image[HEADER_OFFSET : HEADER_OFFSET + 8], "little")


@lru_cache(maxsize=64)
def place_of(nr: int, layout: Layout) -> tuple[range, ...]:
    """Return the byte ranges of a component in an image."""
    if nr == XFeature.FP:
        return (X87_ENVIRONMENT, X87_REGISTERS)
    if nr == XFeature.SSE:
        return (XMM_REGISTERS,)
    component = layout.component(nr)
    return (range(component.offset, component.end),)


def _place(image: bytearray, nr: int, content: bytes, layout: Layout) -> None:
    spans = place_of(nr, layout)
    if len(content) != sum(map(len, spans)) or spans[-1].stop > max(len(image), LEGACY_SIZE):
        raise LayoutError(
            f"component {nr}: a content of {len(content)} bytes does not fit into {spans}"
        )
    for span in spans:
        image[span.start : span.stop] = content[: len(span)]
        content = content[len(span) :]


def significant_x87(content: bytes) -> bytes:
    """Return an FP content with only those fields that every CPU restores and saves unchanged.

    Reserved bytes are zero, and FOP, FIP and FDP, which AMD saves only with an exception pending.

    :see: SDM vol.1 §8.1.5 "x87 FPU Control Word"; table 10-2 "Format of an FXSAVE Area"
    """
    kept = int.from_bytes(content, "little") & _SIGNIFICANT_X87 | FCW_ALWAYS
    return kept.to_bytes(FP_SIZE, "little")


def is_init(nr: int, content: bytes, layout: Layout) -> bool:
    """Return True if a content equals the component's INIT state."""
    return content == init_content(nr, layout)


def contents_in(bitmap: int, fields: XsaveFields) -> dict[int, bytes]:
    """Return the contents of the components in ``bitmap``."""
    return {nr: fields.contents[nr] for nr in numbers(bitmap) if nr in fields.contents}
