"""The values that a VMM restores: those that a call carries, and those that a vCPU has."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

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
    from collections.abc import Set as AbstractSet

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
TSC, TSC_DEADLINE = Piece(PieceKind.MSR, 0x10), Piece(PieceKind.MSR, 0x6E0)
_MSRS = {index: Piece(PieceKind.MSR, index) for index in _FOLLOWED} | {
    one.number: one for one in (TSC, TSC_DEADLINE)
}
# KVM keeps PKRU outside of the fpstate.
_COMPONENTS = {
    int(nr): Piece(PieceKind.COMPONENT, nr) for nr in XFeature if nr is not XFeature.PKRU
}
_REGISTERS = {msr_id(index): Piece(PieceKind.MSR, index) for index in Msr} | {GUEST_SSP: SSP}


class Carried(NamedTuple):
    """What a call gives a vCPU.

    :ivar pieces: all of it but for components
    :ivar followed: in the order of the call, the values that a later call can lose, and the TSC's
    """

    pieces: AbstractSet[Piece] = frozenset()
    followed: Mapping[Piece, Value] = MappingProxyType({})


def carried(entry: Entry, host: HostProfile) -> Carried:
    """Return what a call gives a vCPU: of MSRs, those that the kernel took."""
    spec, sent = entry.spec, entry.sent
    if spec is None or sent is None:
        return Carried()
    match spec.number:
        case ioctls.SET_XSAVE.number:
            return Carried(followed=_components(sent, host))
        case ioctls.SET_XCRS.number:
            entries = XCRS.entries(sent, XCRS.count(sent))
            return _of_values({Piece(PieceKind.XCR, nr): value for nr, value in entries})
        case ioctls.SET_MSRS.number:
            done: int = getattr(entry.line, "result", None) or 0
            return _msrs(sent, max(done, 0))
        case ioctls.SET_ONE_REG.number:
            piece = _REGISTERS.get(int.from_bytes(sent[:8], "little"))
            value = int.from_bytes(entry.sent_value or b"", "little")
            return _of_values({piece: value} if piece else {})
        case _:
            return Carried()


def _of_values(values: Mapping[Piece, Value]) -> Carried:
    followed = {XCR0, SSP, *_MSRS.values()}
    return Carried(values.keys(), {p: value for p, value in values.items() if p in followed})


@lru_cache(maxsize=64)
def _msrs(sent: bytes, count: int) -> Carried:
    entries = msr_entries(sent)[:count]
    followed = {_MSRS[index]: value for index, value in entries if index in _MSRS}
    return Carried(_of_indices(tuple([index for index, _ in entries])), followed)


@lru_cache(maxsize=64)
def _of_indices(indices: tuple[int, ...]) -> frozenset[Piece]:
    return frozenset(Piece(PieceKind.MSR, index) for index in indices)


def _components(image: bytes, host: HostProfile) -> Mapping[Piece, Value]:
    if len(image) < EXTENDED_OFFSET:
        return {}
    given = decode(image, host.layout)
    return {
        _COMPONENTS[nr]: given.contents[nr]
        for nr in numbers(given.xstate_bv)
        if nr in given.contents and nr in _COMPONENTS
    }


def is_kept(host: HostProfile, vcpu: Vcpu, piece: Piece, given: Value) -> bool:
    """Return True if a vCPU still has a value that it was given, or may have it.

    :param piece: one that :func:`carried` follows, and not the TSC or its deadline

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
