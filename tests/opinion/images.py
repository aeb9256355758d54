"""KVM_SET_XSAVE, KVM_GET_XSAVE and KVM_GET_XSAVE2 (api.rst 4.42, 4.43, 4.134)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from tests.opinion import sdm
from tests.opinion.answer import NONE, Opinion, Part, Topic, is_one_of, little
from tests.opinion.state import ARMABLE, Vcpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile

_SSE_OR_AVX = 1 << sdm.SSE | 1 << sdm.AVX
_MXCSR_MATTERS = 1 << sdm.X87 | _SSE_OR_AVX
_LEGACY_GAP = (416, 464)
_OLD_SIZE = 4096
_REFUSED = -errno.EINVAL


def set_xsave(vcpu: Vcpu, host: HostProfile, image: bytes | None) -> Opinion:
    """Restore an image in the standard form.

    Refused are components that the host cannot give, the compacted form, reserved header bytes,
    and reserved bits of MXCSR if a component with MXCSR is there (as XRSTOR: SDM vol.1 13.8).  PKRU
    stays as it is if the image has none.  A component that XFD disables becomes initial: XRSTOR of
    it would raise #NM (SDM vol.1 13.14).
    """
    size = vcpu.image_size()
    if image is None or size is None or len(image) < size:
        vcpu.forget_registers()
        return NONE
    bitmap = int.from_bytes(image[sdm.HEADER : sdm.HEADER + 8], "little")
    mxcsr = int.from_bytes(image[sdm.MXCSR_PLACE : sdm.MXCSR_PLACE + 4], "little")
    possible = host.user_features & (host.kvm_xcr0 | 3)
    if not vcpu.tiles:
        possible &= ~ARMABLE
    if bitmap & ~possible or any(image[sdm.HEADER + 8 : sdm.HEADER_END]):
        return is_one_of(Topic.XSTATE, _REFUSED)
    if bitmap & _MXCSR_MATTERS:
        if mxcsr & ~host.mxcsr_mask:
            return is_one_of(Topic.MXCSR, _REFUSED)
        vcpu.mxcsr = mxcsr
    for nr in vcpu.components():
        present = bitmap >> nr & 1
        content = sdm.content_of(image, nr, vcpu.layout) if present else b""
        vcpu.values[nr] = content or sdm.initial(nr, vcpu.layout)
    vcpu.present, vcpu.absent = bitmap, ~bitmap
    if bitmap >> sdm.PKRU & 1:
        content = sdm.content_of(image, sdm.PKRU, vcpu.layout)
        vcpu.pkru = int.from_bytes(content[:4], "little")
    if bitmap & ARMABLE and vcpu.xfd is None:
        vcpu.forget_tile_data()
    elif bitmap & ARMABLE and vcpu.xfd:
        vcpu.lose_tile_data()
    return is_one_of(Topic.XSTATE, 0)


def set_fpu(vcpu: Vcpu) -> None:
    """Know no more of x87 and SSE."""
    both = 1 << sdm.X87 | 1 << sdm.SSE
    for nr in (sdm.X87, sdm.SSE):
        vcpu.values.pop(nr, None)
    vcpu.mxcsr = None
    vcpu.present &= ~both
    vcpu.absent &= ~both


def get_old_xsave(vcpu: Vcpu, room: int) -> Opinion:
    """Fail for an image that KVM_GET_XSAVE's 4096 bytes do not hold."""
    size = vcpu.image_size()
    if size is not None and size > _OLD_SIZE:
        return is_one_of(Topic.XSTATE, _REFUSED)
    return get_xsave(vcpu, room)


def get_xsave(vcpu: Vcpu, room: int) -> Opinion:
    """Return what an image shows: the components that the guest's CPUID has, and x87 and SSE.

    :param room: size of the buffer, bytes
    """
    size = vcpu.image_size()
    if size is None or room < size:
        return NONE
    return Opinion(Topic.XSTATE, frozenset({0}), tuple(_shown(vcpu, size)))


def _shown(vcpu: Vcpu, size: int) -> Iterator[Part]:
    visible = None if vcpu.offered is None else vcpu.offered | 3
    yield from _bitmap(vcpu, visible)
    yield Part(Topic.XSTATE, sdm.HEADER + 8, bytes(sdm.HEADER_END - sdm.HEADER - 8))
    yield from _mxcsr(vcpu, visible)
    yield from _pkru(vcpu, visible)
    for nr, value in vcpu.values.items():
        shown = _visible_value(vcpu, nr, value, visible)
        start = 0
        for begin, end in sdm.places(nr, vcpu.layout) if shown else ():
            if end <= size:
                yield Part(Topic.XSTATE, begin, shown[start : start + end - begin])
                start += end - begin
    for begin, end in _gaps(vcpu, size):
        yield Part(Topic.XSTATE, begin, bytes(end - begin))


def _visible_value(vcpu: Vcpu, nr: int, value: bytes, visible: int | None) -> bytes:
    initial = sdm.initial(nr, vcpu.layout)
    if visible is None:
        return value if value == initial else b""
    return value if visible >> nr & 1 else initial


def _bitmap(vcpu: Vcpu, visible: int | None) -> Iterator[Part]:
    shown = vcpu.present & visible if visible is not None else 0
    known = vcpu.absent | shown | (~visible if visible is not None else 0)
    every = (1 << 64) - 1
    for topic, bits in ((Topic.XFD, ARMABLE), (Topic.XSTATE, every & ~ARMABLE)):
        mask = known & bits
        if mask:
            yield Part(topic, sdm.HEADER, little(shown & bits, 8), little(mask, 8))


def _mxcsr(vcpu: Vcpu, visible: int | None) -> Iterator[Part]:
    """MXCSR is shown with SSE or AVX, and is initial otherwise."""
    shown: int | None = None
    hidden = vcpu.absent if visible is None else vcpu.absent | ~visible
    if _SSE_OR_AVX & ~hidden == 0:
        shown = sdm.MXCSR_INIT
    elif vcpu.mxcsr == sdm.MXCSR_INIT or (
        visible is not None and vcpu.present & visible & _SSE_OR_AVX
    ):
        shown = vcpu.mxcsr
    if shown is not None:
        yield Part(Topic.MXCSR, sdm.MXCSR_PLACE, little(shown, 4))


def _pkru(vcpu: Vcpu, visible: int | None) -> Iterator[Part]:
    bit = 1 << sdm.PKRU
    if not vcpu.layout.bitmap & bit:
        return
    [(begin, end)] = sdm.places(sdm.PKRU, vcpu.layout)
    hidden = vcpu.absent if visible is None else vcpu.absent | ~visible
    shown = 0 if hidden & bit else vcpu.pkru
    certain = hidden & bit or shown == 0 or (visible is not None and vcpu.present & visible & bit)
    if shown is not None and certain:
        yield Part(Topic.PKRU, begin, little(shown, 4).ljust(end - begin, b"\0"))


def _gaps(vcpu: Vcpu, size: int) -> Iterator[tuple[int, int]]:
    yield _LEGACY_GAP
    at = sdm.HEADER_END
    for component in sorted(vcpu.layout.components, key=lambda c: c.offset):
        if at < component.offset <= size:
            yield at, component.offset
        at = component.end
