"""The cells of a matrix of moves: what is planned, what the model says, what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.moves.restoring import Fatal, Lost, Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu
    from kvmprobe.moves.causes import Explained
    from kvmprobe.moves.guests import Use
    from kvmprobe.moves.restoring import Finding, Into
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

    :ivar refused: why it was not tried; empty if it was
    :ivar why_not: why it did not run, though it was tried; empty if it did
    :ivar findings: what the model says is wrong with the guest on the target, and why
    :ivar agrees: the kernel did what the model expects of it at each call
    """

    source: str
    target: str
    order: str
    into: Into
    use: Use | None = None
    refused: str = ""
    why_not: str = ""
    findings: tuple[Explained, ...] = ()
    seen: Fared | None = None
    agrees: bool = False

    @property
    def predicted(self) -> Fared:
        """How the guest fares by the facts about the two hosts alone."""
        return fared(one.finding for one in self.findings)

    @property
    def is_as_predicted(self) -> bool:
        """True if it ran, and the kernel's calls and the guest's fate are as predicted."""
        return self.agrees and self.seen == self.predicted


def all_is_well(cells: Collection[Cell]) -> bool:
    """Return True if each move ran as predicted or was refused with a reason, and some ran."""
    ran = [cell for cell in cells if not cell.refused]
    return bool(ran) and all(cell.is_as_predicted for cell in ran)


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
