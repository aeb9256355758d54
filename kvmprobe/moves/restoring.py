"""A guest's way through a restore order: what is refused, what is lost, and by which call."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.model.cpuid_refresh import refreshed
from kvmprobe.model.outcome import Done, Failed, HostDies
from kvmprobe.model.run import run_immediate_exit
from kvmprobe.model.sregs import illegal_cr4
from kvmprobe.moves.guests import CR4, guest, new_vcpu, other_use, pieces
from kvmprobe.moves.orders import Saved, calls, set_image, with_components
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.vmm.findings import Piece, PieceKind
from kvmprobe.xstate.features import DYNAMIC, XFeature, bitmap_of, numbers
from kvmprobe.xstate.image import xstate_bv_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmprobe.model.control import Cr4
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step
    from kvmprobe.moves.orders import Call
    from kvmprobe.vmm.pieces import Value
    from kvmprobe.xstate.cpuid import CpuidTable


class Into(StrEnum):
    """What the guest is restored into."""

    NEW = "new"
    """A new vCPU."""
    USED = "used"
    """A vCPU that another guest has run in, which used XFD otherwise, and that was not reset."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A call fails on the target; a VMM ends there.

    :ivar errno: positive; 0 if KVM_SET_MSRS ends at an entry
    :ivar pieces: what the target does not take
    :ivar cr4: bits of CR4 that it does not take
    """

    call: str
    errno: int
    pieces: tuple[Piece, ...]
    cr4: tuple[Cr4, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """The guest has another value, INIT for a component, when it is entered.

    :ivar call: that lost it, or that gave the guest another value; empty if no call restores it
    """

    call: str
    piece: Piece


@dataclass(frozen=True, slots=True)
class Fatal:
    """The call takes the target down."""

    call: str


Finding = Refused | Lost | Fatal


def restored(saved: Saved, words: Iterable[str], into: Into = Into.NEW) -> tuple[Finding, ...]:
    """Return what is wrong with a guest that was restored on the target and entered there.

    :param words: of the order
    """
    machine = new_vcpu(saved.target)
    if into is Into.USED and saved.vcpu.cpuid is not None:
        # The vCPU's earlier guest had the same CPUID, which the target must take as well.
        [given] = calls("cpuid", saved)
        if refusal := _refusal(machine, given, given.make(machine), saved):
            return (refusal,)
        machine = _used(machine, saved, saved.vcpu.cpuid.table)
    had = pieces(saved.host, saved.vcpu)
    lost_by: dict[Piece, str] = {}
    before = _same(machine, had)
    for call in (call for word in words for call in calls(word, saved)):
        step = call.make(machine)
        if isinstance(step.outcome, HostDies):
            return (Fatal(call.name),)
        if refusal := _refusal(machine, call, step, saved):
            return (refusal,)
        machine = step.machine
        after = _same(machine, had)
        for piece in had.keys() - after:
            if piece in before or piece in call.carries:
                lost_by[piece] = call.name
        before = after
    entered = run_immediate_exit(machine, VCPU)
    if isinstance(entered.outcome, HostDies):
        return (Fatal(ioctls.RUN.name),)
    last = _same(entered.machine, had)
    lost_by |= dict.fromkeys(before - last, ioctls.RUN.name)
    return tuple(Lost(lost_by.get(piece, ""), piece) for piece in had if piece not in last)


def _used(machine: Machine, saved: Saved, table: CpuidTable) -> Machine:
    used = guest(saved.target, table, other_use(table.xcr0 & DYNAMIC, saved.vcpu.xfd))
    used = refreshed(saved.target, used._replace(ran=True, entered=True))
    return machine.with_vcpu(VCPU, used)


def _same(machine: Machine, had: Mapping[Piece, Value]) -> set[Piece]:
    """Return the pieces of which the vCPU has the guest's value."""
    has = pieces(machine.host, machine.vcpu(VCPU))
    return {piece for piece, value in had.items() if has.get(piece) == value}


def _refusal(machine: Machine, call: Call, step: Step, saved: Saved) -> Refused | None:
    match step.outcome:
        case Failed(number) if call.carries == (CR4,):
            vcpu = machine.vcpu(VCPU)
            bits = illegal_cr4(machine.host, vcpu.cpuid, saved.vcpu.cr4)
            return Refused(call.name, number, () if bits else call.carries, bits)
        case Failed(number):
            return Refused(call.name, number, tuple(_not_taken(machine, call, number, saved)))
        case Done(count) if count < len(call.msrs):
            return Refused(call.name, 0, (Piece(PieceKind.MSR, call.msrs[count][0]),))
        case _:
            return None


def _not_taken(machine: Machine, call: Call, number: int, saved: Saved) -> Iterator[Piece]:
    """Yield what the target does not take: of an image, each component that alone fails as well."""
    match call.name:
        case ioctls.SET_CPUID2.name:
            lacking = DYNAMIC if number == errno.EPERM else 0
        case ioctls.SET_XCRS.name:
            lacking = saved.vcpu.xcr0 & ~(machine.vcpu(VCPU).guest_xcr0 | XFeature.FP.bit)
        case ioctls.SET_XSAVE.name:
            alone = {nr: with_components(call.image, 1 << nr) for nr in _in_image(call)}
            lacking = bitmap_of(nr for nr in alone if _fails(machine, alone[nr]))
        case _:
            yield from call.carries
            return
    yield from (Piece(PieceKind.COMPONENT, nr) for nr in numbers(lacking))


def _in_image(call: Call) -> tuple[int, ...]:
    return numbers(xstate_bv_of(call.image))


def _fails(machine: Machine, image: bytes) -> bool:
    return isinstance(set_image(image).make(machine).outcome, Failed)
