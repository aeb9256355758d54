"""The cells of a matrix of moves: what is planned, what the model says, what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.moves.orders import Saved
from kvmprobe.moves.restoring import Fatal, Lost, Refused, restored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu
    from kvmprobe.moves.guests import Use
    from kvmprobe.moves.restoring import Finding
    from kvmprobe.moves.saved_guest import SavedGuest
    from kvmprobe.scenarios.presets import Preset
    from kvmprobe.vmm.findings import Piece

# `restore` writes what KVM_GET_SREGS returned; the kernel checks both alike.
_MADE_AS = {ioctls.SET_SREGS2.name: ioctls.SET_SREGS.name}


class Fate(StrEnum):
    """What becomes of a guest."""

    GOES_ON = "goes on"
    LOST = "lost"
    REFUSED = "refused"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Fared:
    """How a guest fares.

    :ivar call: that is refused, or takes the target down
    :ivar pieces: that are lost
    """

    fate: Fate
    call: str = ""
    pieces: frozenset[Piece] = frozenset()


@dataclass(frozen=True, slots=True)
class MovedGuest:
    """A guest that was saved on a host of the matrix.

    :ivar source: the host's name
    :ivar host: its profile
    :ivar vcpu: the guest as the model has it
    """

    source: str
    host: HostProfile
    order: Preset
    use: Use
    guest: SavedGuest
    vcpu: Vcpu


@dataclass(frozen=True, slots=True)
class Cell:
    """One move.

    :ivar why_not: why it did not run; empty if it did
    :ivar agrees: the kernel did what the model expects of it at each call
    """

    source: str
    target: str
    order: str
    use: Use
    why_not: str = ""
    predicted: Fared | None = None
    seen: Fared | None = None
    agrees: bool = False

    @property
    def is_as_predicted(self) -> bool:
        """True if it ran, and the kernel's calls and the guest's fate are as predicted."""
        return self.agrees and self.seen == self.predicted


def predicted(moved: MovedGuest, target: HostProfile) -> Fared:
    """Return how a guest fares on a target, from the facts about the two hosts alone."""
    return fared(restored(Saved(moved.host, moved.vcpu, target), moved.order.tokens))


def fared(findings: Iterable[Finding]) -> Fared:
    """Return what findings make of a guest."""
    pieces: set[Piece] = set()
    for finding in findings:
        match finding:
            case Refused(call):
                return Fared(Fate.REFUSED, _MADE_AS.get(call, call))
            case Fatal(call):
                return Fared(Fate.FATAL, call)
            case Lost(_, piece):
                pieces.add(piece)
    return Fared(Fate.LOST, pieces=frozenset(pieces)) if pieces else Fared(Fate.GOES_ON)
