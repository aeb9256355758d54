"""Each finding about a VMM's calls as a sentence."""

from __future__ import annotations

import errno
from functools import singledispatch
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import msr_name
from kvmprobe.errors import errno_name
from kvmprobe.reports.differences import shown
from kvmprobe.reports.values import result_text
from kvmprobe.results.known import by_id
from kvmprobe.vmm.findings import (
    Asked,
    At,
    Differs,
    ErrorIgnored,
    Expected,
    HostDies,
    ImageCut,
    Lost,
    LostBy,
    NotRestored,
    OrderMatters,
    PermissionMissing,
    Piece,
    PieceKind,
    Reach,
    ReadsOtherwise,
    Refused,
)
from kvmprobe.vmm.pieces import TSC_DEADLINE
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.vmm.replay_findings import Found

LISTED = 12


def plural(number: int, what: str) -> str:
    """Return ``1 call`` or ``2 calls``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def call_at(at: At) -> str:
    """Return ``KVM_SET_XSAVE (line 20)``."""
    return f"{at.call} (line {at.line})"


def _register(piece: Piece) -> str:
    match piece.kind:
        case PieceKind.XCR:
            return f"XCR{piece.number}"
        case PieceKind.CR:
            return f"CR{piece.number}"
        case PieceKind.SSP | PieceKind.MXCSR:
            return piece.kind.name
        case _:
            return _msr(piece.number)


def _msr(index: int) -> str:
    if index == TSC_DEADLINE.number:
        return "IA32_TSC_DEADLINE"
    name = msr_name(index)
    return name if name.startswith("MSR") else f"IA32_{name}"


def pieces_text(pieces: Iterable[Piece]) -> str:
    """Return ``XCR0, IA32_XSS``; components together: ``0x60000 (XTILE_CFG|XTILE_DATA)``."""
    components, others = 0, []
    for piece in pieces:
        if piece.kind is PieceKind.COMPONENT:
            components |= 1 << piece.number
        else:
            others.append(_register(piece))
    return _list(([f"XSTATE components {names(components)}"] if components else []) + others)


def _list(items: Iterable[str]) -> str:
    every = list(items)
    more = f" and {len(every) - LISTED} others" if len(every) > LISTED else ""
    return f"{', '.join(every[:LISTED])}{more}"


@singledispatch
def sentence(finding: Found, kernel: str) -> str:  # noqa: ARG001 - others have it
    """Return what is wrong, in one sentence.

    :param kernel: the judged release, for the fix of a defect
    """
    raise TypeError(finding)


@sentence.register
def _(finding: HostDies, kernel: str) -> str:
    labels = " and ".join(by_id(defect).label(kernel) for defect in finding.defects)
    if finding.reach is Reach.THIS_KERNEL:
        return f"{call_at(finding.at)} takes the host down: {labels}"
    return f"{call_at(finding.at)} takes the host down on kernels with {labels}"


@sentence.register
def _(finding: Lost, _kernel: str) -> str:
    pieces = pieces_text(finding.pieces)
    if finding.how is LostBy.NOT_TAKEN:
        return (
            f"KVM ignored the {pieces} of {call_at(finding.restored)}, since only "
            f"{call_at(finding.by)} after it puts the APIC timer in TSC-deadline mode"
        )
    if finding.how is LostBy.TOO_EARLY:
        return (
            f"KVM computed the timer for the {pieces} of {call_at(finding.restored)} before "
            f"{call_at(finding.by)} set IA32_TIME_STAMP_COUNTER"
        )
    if finding.by == finding.restored:
        return f"{call_at(finding.restored)} has {pieces}, and the kernel drops it: XFD disables it"
    return f"{call_at(finding.by)} loses {pieces}, which {call_at(finding.restored)} had restored"


@sentence.register
def _(finding: NotRestored, _kernel: str) -> str:
    pieces = pieces_text(finding.pieces)
    reason = {
        Expected.OFFERED: "which the guest's CPUID offers",
        Expected.SAVED: "which another VM's vCPU had, other than 0",
    }[finding.why]
    return f"no call before {call_at(finding.entered)} restores {pieces}, {reason}"


@sentence.register
def _(finding: ErrorIgnored, _kernel: str) -> str:
    entered = f"and {call_at(finding.entered)} enters the guest"
    if finding.result < 0:
        return f"{call_at(finding.failed)} failed with {errno_name(-finding.result)}, {entered}"
    msrs = _list(map(_msr, finding.msrs))
    return (
        f"{call_at(finding.failed)} took only {plural(finding.result, 'MSR')}, no other call set "
        f"{msrs}, {entered}"
    )


@sentence.register
def _(finding: PermissionMissing, _kernel: str) -> str:
    if finding.request == finding.at:
        late = errno_name(errno.EBUSY)
        return f"{call_at(finding.at)} fails with {late}: it came after the first vCPU"
    begins = f"{call_at(finding.at)} offers XTILE_DATA and fails with {errno_name(errno.EPERM)}"
    request = "ARCH_REQ_XCOMP_GUEST_PERM"
    if finding.request is None or finding.asked is Asked.NEVER:
        return f"{begins}: the process never called arch_prctl({request}, 18)"
    if finding.asked is Asked.TOO_LATE:
        return f"{begins}: {call_at(finding.request)} came after the first vCPU"
    return f"{begins}: {call_at(finding.request)} had failed"


@sentence.register
def _(finding: ImageCut, _kernel: str) -> str:
    return (
        f"{call_at(finding.at)} cannot return a state of {finding.size} bytes; "
        "KVM_GET_XSAVE2 does, with the size of KVM_CAP_XSAVE2"
    )


@sentence.register
def _(finding: Refused, _kernel: str) -> str:
    if finding.msr is not None:
        return f"{call_at(finding.at)} took {_msr(finding.msr)}, and this host does not"
    return (
        f"{call_at(finding.at)} succeeded, and fails on this host with {errno_name(finding.errno)}"
    )


@sentence.register
def _(finding: Differs, _kernel: str) -> str:
    legal = " or ".join(map(result_text, finding.expected)) or "a descriptor"
    return (
        f"{call_at(finding.at)} returned {result_text(finding.recorded)}, where the model expects "
        f"{legal}; nothing later is judged on this vCPU"
    )


@sentence.register
def _(finding: ReadsOtherwise, _kernel: str) -> str:
    text = shown(finding.difference)
    return (
        f"{call_at(finding.at)} read {text.observed}, where the model expects {text.expected}; "
        "kvmprobe run judges this kernel"
    )


@sentence.register
def _(finding: OrderMatters, _kernel: str) -> str:
    both = f"{call_at(finding.first)} and {call_at(finding.second)} do not commute"
    if finding.refused:
        return f"{both}: in the other order {finding.refused.call} fails"
    return f"{both}: the other order leaves other state"
