"""One vCPU's restore: the calls from its creation to the first entry of the guest."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.model import cet
from kvmprobe.model.control import Cr4
from kvmprobe.model.feature import SHSTK, has_feature
from kvmprobe.vmm.findings import (
    At,
    ErrorIgnored,
    Expected,
    Lost,
    LostBy,
    NotRestored,
    Piece,
    PieceKind,
)
from kvmprobe.vmm.follow import msr_entries
from kvmprobe.vmm.pieces import SSP, TSC, TSC_DEADLINE, XCR0, carried, is_kept
from kvmprobe.xstate.cpuid import LEAF_XSTATE, Register
from kvmprobe.xstate.features import DYNAMIC, XFeature

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.vmm.findings import Finding
    from kvmprobe.vmm.pieces import Value

# SDM vol.3 §12.5.1 "Local Vector Table": the timer's entry and its mode, 10b for TSC-deadline.
_LVT_TIMER, _MODE, _DEADLINE_MODE = 0x320, 0b11 << 17, 0b10 << 17
# SDM vol.1 §13.14: the CPU has IA32_XFD.
_XFD = (LEAF_XSTATE, 1, Register.EAX, 4)
# Components that a call replaces, whether or not it gives them.
_REPLACED = {
    ioctls.SET_XSAVE.name: tuple(map(int, XFeature)),
    ioctls.SET_FPU.name: (int(XFeature.FP), int(XFeature.SSE)),
}


class _Given(NamedTuple):
    """A value that a call gave, and the call that lost it since."""

    value: Value
    at: At
    lost: At | None = None
    how: LostBy = LostBy.REPLACED


@dataclass
class Restore:
    """What was restored, and what failed.

    :ivar given: of each piece that a later call can lose, the last value
    :ivar restored: all others as well, but for components
    :ivar failed: by ioctl, the last call that failed and was not repeated, with its result
    :ivar refused: MSRs that KVM_SET_MSRS did not take, and the call and result
    :ivar has_image: a KVM_SET_XSAVE succeeded
    :ivar is_certain: all that the calls set was recorded
    :ivar last: the last call
    """

    vcpu: str
    given: dict[Piece, _Given] = field(default_factory=dict)
    restored: set[Piece] = field(default_factory=set)
    failed: dict[str, tuple[At, int]] = field(default_factory=dict)
    refused: dict[int, tuple[At, int]] = field(default_factory=dict)
    has_image: bool = False
    is_certain: bool = True
    last: At | None = None
    _watched: Vcpu | None = None

    def take(self, entry: Entry, at: At, result: int, host: HostProfile) -> None:
        """Add a call that sets state."""
        self.last = at
        if entry.spec == ioctls.SET_MSRS and result >= 0:
            self._take_msrs(entry, at, result)
        elif result < 0:
            self.failed[at.call] = at, result
            return
        else:
            self.failed.pop(at.call, None)
        for replaced in _REPLACED.get(at.call, ()):
            self.given.pop(Piece(PieceKind.COMPONENT, replaced), None)
        self.has_image |= entry.spec == ioctls.SET_XSAVE
        values = carried(entry, host)
        self.restored |= values.pieces
        if values.followed:
            self._watched = None
        for piece, value in values.followed.items():
            if piece is TSC:
                self._take_tsc(at)
            else:
                self.given[piece] = _Given(value, at)
        if entry.spec == ioctls.SET_LAPIC:
            self._take_lapic(entry, at)

    def _take_msrs(self, entry: Entry, at: At, result: int) -> None:
        entries = msr_entries(entry.sent) if entry.sent else ()
        if self.refused:
            for index, _ in entries[:result]:
                self.refused.pop(index, None)
        if result < len(entries):
            self.refused |= {index: (at, result) for index, _ in entries[result:]}

    def _take_tsc(self, at: At) -> None:
        """Note a deadline whose timer was computed with another TSC.

        :see: arch/x86/kvm/lapic.c: start_sw_tscdeadline
        """
        self._lose_deadline(at, LostBy.TOO_EARLY)

    def _take_lapic(self, entry: Entry, at: At) -> None:
        """Note a deadline that KVM ignored, as the timer was not in its mode yet.

        :see: arch/x86/kvm/lapic.c: kvm_set_lapic_tscdeadline_msr, kvm_apic_set_state
        """
        if not entry.sent:
            return
        (timer,) = struct.unpack_from("<I", entry.sent, _LVT_TIMER)
        if timer & _MODE == _DEADLINE_MODE:
            self._lose_deadline(at, LostBy.NOT_TAKEN)

    def _lose_deadline(self, at: At, how: LostBy) -> None:
        deadline = self.given.get(TSC_DEADLINE)
        if deadline is not None and deadline.value:
            self.given[TSC_DEADLINE] = _Given(deadline.value, deadline.at, at, how)

    def watch(self, host: HostProfile, vcpu: Vcpu, at: At) -> None:
        """Note what a vCPU no longer has after a call."""
        if vcpu is self._watched:
            return
        self._watched = vcpu
        for piece, one in self.given.items():
            if piece is TSC_DEADLINE:
                continue
            kept = is_kept(host, vcpu, piece, one.value)
            if kept and one.lost:
                self.given[piece] = _Given(one.value, one.at)
            elif not kept and not one.lost:
                self.given[piece] = _Given(one.value, one.at, at)

    def at_entry(
        self, host: HostProfile, vcpu: Vcpu | None, saved: Iterable[Piece], at: At
    ) -> Iterator[Finding]:
        """Return what is wrong when the guest is entered.

        :param vcpu: as the model has it; None if it is not known
        :param saved: what was read of other vCPUs before and is not 0
        """
        yield from self.losses()
        for failed, result in self.failed.values():
            yield ErrorIgnored(self.vcpu, failed, result, at)
        for place, result in dict(self.refused.values()).items():
            left = tuple(sorted(i for i, (other, _) in self.refused.items() if other == place))
            yield ErrorIgnored(self.vcpu, place, result, at, left)
        if not self.has_image or not self.is_certain:
            return
        offered = _offered(host, vcpu) if vcpu else ()
        for why, pieces in ((Expected.OFFERED, offered), (Expected.SAVED, saved)):
            if missing := [piece for piece in pieces if not self._has(piece)]:
                missing.sort(key=lambda piece: (piece.kind.value, piece.number))
                yield NotRestored(self.vcpu, tuple(missing), why, at)

    def losses(self) -> Iterator[Lost]:
        """Return the values that are lost by now."""
        if not self.is_certain:
            return
        lost: dict[tuple[At, At, LostBy], list[Piece]] = {}
        for piece, one in self.given.items():
            if one.lost:
                lost.setdefault((one.at, one.lost, one.how), []).append(piece)
        for (restored, by, how), pieces in lost.items():
            yield Lost(self.vcpu, tuple(pieces), restored, by, how)

    def _has(self, piece: Piece) -> bool:
        return piece in self.restored or (
            piece.kind is PieceKind.MSR and piece.number in self.refused
        )


def _offered(host: HostProfile, vcpu: Vcpu) -> Iterator[Piece]:
    """Yield what belongs to the state of a guest with this CPUID.

    :see: SDM vol.1 §13.14 "Extended Feature Disable (XFD)", §18 "Control-flow Enforcement
        Technology (CET)"
    """
    if vcpu.cpuid is None:
        return
    if vcpu.guest_xcr0:
        yield XCR0
    if vcpu.guest_xcr0 & DYNAMIC and vcpu.cpuid.has(*_XFD):
        yield Piece(PieceKind.MSR, Msr.IA32_XFD)
    if vcpu.guest_xss:
        yield Piece(PieceKind.MSR, Msr.IA32_XSS)
    if not vcpu.cr4 & Cr4.CET.bit:
        return
    yield from (
        Piece(PieceKind.MSR, index) for index in sorted(cet.MSRS) if cet.exists(host, vcpu, index)
    )
    if has_feature(host, vcpu, SHSTK):
        yield SSP
