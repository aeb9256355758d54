"""The values that a VMM restores: those that a call carries, and those that a vCPU has."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.tables import XCRS
from kvmprobe.model.fpstate import content
from kvmprobe.model.one_reg import GUEST_SSP, msr_id
from kvmprobe.vmm.findings import Piece, PieceKind
from kvmprobe.vmm.follow import msr_entries
from kvmprobe.xstate.features import XFeature, numbers
from kvmprobe.xstate.image import decode, init_content
from kvmprobe.xstate.layout import EXTENDED_OFFSET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu
    from kvmprobe.recordings.entries import Entry

Value = int | bytes
# The MSRs whose value a call on another piece can change.
_FOLLOWED: Mapping[int, Callable[[Vcpu], int]] = {
    Msr.IA32_XFD: lambda vcpu: vcpu.xfd,
    Msr.IA32_XFD_ERR: lambda vcpu: vcpu.xfd_err,
    Msr.IA32_XSS: lambda vcpu: vcpu.xss,
}
XCR0, SSP = Piece(PieceKind.XCR, 0), Piece(PieceKind.SSP, 0)
_REGISTERS = {msr_id(index): Piece(PieceKind.MSR, index) for index in Msr} | {GUEST_SSP: SSP}


def carried(entry: Entry, host: HostProfile) -> Mapping[Piece, Value]:
    """Return the values that a call gives a vCPU: of MSRs, those that the kernel took."""
    spec, sent = entry.spec, entry.sent
    if spec is None or sent is None:
        return {}
    match spec.number:
        case ioctls.SET_XSAVE.number:
            return _components(sent, host)
        case ioctls.SET_XCRS.number:
            entries = XCRS.entries(sent, XCRS.count(sent))
            return {Piece(PieceKind.XCR, nr): value for nr, value in entries}
        case ioctls.SET_MSRS.number:
            done: int = getattr(entry.line, "result", None) or 0
            return _msrs(sent, max(done, 0))
        case ioctls.SET_ONE_REG.number:
            piece = _REGISTERS.get(int.from_bytes(sent[:8], "little"))
            return {piece: int.from_bytes(entry.sent_value or b"", "little")} if piece else {}
        case _:
            return {}


@lru_cache(maxsize=64)
def _msrs(sent: bytes, count: int) -> Mapping[Piece, Value]:
    return {Piece(PieceKind.MSR, index): value for index, value in msr_entries(sent)[:count]}


def _components(image: bytes, host: HostProfile) -> Mapping[Piece, Value]:
    if len(image) < EXTENDED_OFFSET:
        return {}
    given = decode(image, host.layout)
    return {
        Piece(PieceKind.COMPONENT, nr): given.contents[nr]
        for nr in numbers(given.xstate_bv)
        if nr in given.contents
    }


def can_be_lost(piece: Piece) -> bool:
    """Return True if a call other than the next restore may make it another value.

    KVM keeps PKRU outside of the fpstate.  Control registers and MXCSR are not followed.
    """
    match piece.kind:
        case PieceKind.COMPONENT:
            return piece.number != XFeature.PKRU
        case PieceKind.XCR:
            return piece.number == 0
        case PieceKind.SSP:
            return True
        case PieceKind.MSR:
            return piece.number in _FOLLOWED
        case PieceKind.CR | PieceKind.MXCSR:
            return False


def is_kept(host: HostProfile, vcpu: Vcpu, piece: Piece, given: Value) -> bool:
    """Return True if a vCPU still has a value that it was given, or may have it.

    :param piece: one that can be lost

    A component is lost where INIT took the place of other content: a load and a save may change
    bits of x87 state that mean nothing.
    """
    match piece.kind:
        case PieceKind.COMPONENT:
            return _has_component(host, vcpu, piece.number, given)
        case PieceKind.XCR:
            return vcpu.xcr0 == given
        case PieceKind.SSP:
            return vcpu.ssp == given
        case PieceKind.MSR:
            return _FOLLOWED[piece.number](vcpu) == given
        case PieceKind.CR | PieceKind.MXCSR:
            raise ValueError(f"{piece} is not followed")


def _has_component(host: HostProfile, vcpu: Vcpu, nr: int, given: Value) -> bool:
    init = init_content(nr, host.layout)
    bits = vcpu.fpstate.xstate_bv | vcpu.fpstate.xstate_bv_open
    return given == init or (bool(bits >> nr & 1) and content(host, vcpu.fpstate, nr) != init)
