"""KVM_SET_XCRS, KVM_GET_XCRS, and IA32_XFD and IA32_XFD_ERR in KVM_SET_MSRS and KVM_GET_MSRS."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from tests.opinion import sdm
from tests.opinion.answer import NONE, Opinion, Part, Topic, is_one_of, little
from tests.opinion.state import ARMABLE, Vcpu

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.results.trace import Reply

XFD, XFD_ERR = 0x1C4, 0x1C5
_CET = range(0x6A0, 0x6A9)
_MOST_XCRS = 16
_REFUSED = -errno.EINVAL


def xcr0_is_accepted(vcpu: Vcpu, value: int) -> bool | None:
    """Return whether the guest may have this XCR0 (SDM vol.2 XSETBV), None if that is not known."""
    if not sdm.xcr0_is_legal(value):
        return False
    if vcpu.offered is None:
        return True if value == 1 else None
    return not value & ~(vcpu.offered | 1)


def set_xcrs(vcpu: Vcpu, content: bytes | None) -> Opinion:
    """Set XCR0 to its first value in the list; other registers are ignored (api.rst 4.45)."""
    if content is None or len(content) < 8 + 16 * _MOST_XCRS:
        vcpu.xcr0 = None
        return NONE
    count, flags = struct.unpack_from("<II", content)
    if count > _MOST_XCRS or flags:
        return is_one_of(Topic.XCR0, _REFUSED)
    entries = (struct.unpack_from("<IxxxxQ", content, 8 + 16 * n) for n in range(count))
    value = next((value for number, value in entries if number == 0), None)
    if value is None:
        return is_one_of(Topic.XCR0, 0)
    match xcr0_is_accepted(vcpu, value):
        case None:
            vcpu.xcr0 = None
            return NONE
        case True:
            vcpu.xcr0 = value
            return is_one_of(Topic.XCR0, 0)
        case False:
            return is_one_of(Topic.XCR0, _REFUSED)


def get_xcrs(vcpu: Vcpu) -> Opinion:
    """Return one register, XCR0 (api.rst 4.44)."""
    parts = [Part(Topic.XCR0, 0, struct.pack("<III", 1, 0, 0))]
    if vcpu.xcr0 is not None:
        parts.append(Part(Topic.XCR0, 16, little(vcpu.xcr0, 8)))
    return Opinion(Topic.XCR0, frozenset({0}), tuple(parts))


def set_msrs(vcpu: Vcpu, content: bytes | None) -> Opinion:
    """Set MSRs up to the first that is refused; the result counts those that were set.

    IA32_XFD and IA32_XFD_ERR take the dynamic components that the guest has (SDM vol.1 13.14).
    """
    if content is None:
        vcpu.xfd = vcpu.xfd_err = None
        vcpu.forget_tile_data()
        return NONE
    pass_through_for(vcpu, [index for index, _ in _entries(content)])
    certain = True
    for done, (index, value) in enumerate(_entries(content)):
        if index not in {XFD, XFD_ERR}:
            certain = False
            continue
        accepted = _is_armable(vcpu, value)
        if accepted is False:
            return is_one_of(Topic.XFD, done) if certain else NONE
        certain = certain and accepted is not None
        _store(vcpu, index, value if certain else None)
    return is_one_of(Topic.XFD, len(list(_entries(content)))) if certain else NONE


def _is_armable(vcpu: Vcpu, value: int) -> bool | None:
    if vcpu.offered is None:
        return None if value == ARMABLE else not value
    return not value & ~(vcpu.offered & ARMABLE)


def _store(vcpu: Vcpu, index: int, value: int | None) -> None:
    if index == XFD_ERR:
        vcpu.xfd_err = value
        return
    vcpu.xfd = value
    if value is None:
        vcpu.forget_tile_data()
    elif value:
        vcpu.lose_tile_data()


def get_msrs(vcpu: Vcpu, head: bytes, reply: Reply) -> Opinion:
    """Return IA32_XFD and IA32_XFD_ERR, if the list has them."""
    wanted = [index for index, _ in _entries(head)]
    pass_through_for(vcpu, wanted)
    ours = {XFD: vcpu.xfd, XFD_ERR: vcpu.xfd_err}
    parts = [
        Part(Topic.XFD, 16 + 16 * n, little(ours[index] or 0, 8))
        for n, index in enumerate(wanted[: max(reply.result, 0)])
        if ours.get(index) is not None
    ]
    whole = frozenset({len(wanted)}) if wanted and ours.keys() >= set(wanted) else frozenset[int]()
    return Opinion(Topic.XFD, whole, tuple(parts))


def pass_through_for(vcpu: Vcpu, indices: Sequence[int]) -> None:
    """Pass the registers through if some MSR is part of CET state, which XRSTORS loads.

    A kernel may do without (SDM vol.1 13.5.9 "CET State").
    """
    if not any(index in _CET for index in indices):
        return
    before = vcpu.mxcsr
    vcpu.pass_through_registers()
    if vcpu.mxcsr != before:
        vcpu.mxcsr = None


def access_one(vcpu: Vcpu, head: bytes, *, writes: bool) -> None:
    """Know no more of a register that KVM_SET_ONE_REG writes; its id ends with the MSR's index."""
    index = int.from_bytes(head[:4], "little")
    pass_through_for(vcpu, [index])
    if writes and index in {XFD, XFD_ERR}:
        _store(vcpu, index, None)


def _entries(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield index and value of each entry of ``struct kvm_msrs``."""
    (count,) = struct.unpack_from("<I", content)
    for number in range(min(count, (len(content) - 8) // 16)):
        yield struct.unpack_from("<IxxxxQ", content, 8 + 16 * number)
