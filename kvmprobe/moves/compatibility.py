"""Whether guests of one host go on on another, in which orders, and why they do not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.moves.causes import explained
from kvmprobe.moves.guests import guest, uses
from kvmprobe.moves.orders import Saved
from kvmprobe.moves.shared_cpuid import shared_cpuid
from kvmprobe.results.known import known_defects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.moves.causes import Explained
    from kvmprobe.moves.guests import Use
    from kvmprobe.moves.restoring import Into
    from kvmprobe.moves.shared_cpuid import SharedCpuid
    from kvmprobe.results.known import KnownDefect
    from kvmprobe.scenarios.presets import Preset


class Cpuid(StrEnum):
    """What the guest's CPUID offers."""

    SOURCE = "source"
    """All that the source supports."""
    SHARED = "shared"
    """What both hosts support, if that is less."""


@dataclass(frozen=True, slots=True)
class Move:
    """A guest moved in one order; it goes on if nothing was found."""

    order: str
    cpuid: Cpuid
    use: Use
    findings: tuple[Explained, ...]


@dataclass(frozen=True, slots=True)
class Compatibility:
    """What becomes of a source's guests on a target.

    :ivar defects: known defects of either host, each with whether source and target have it
    """

    source: HostProfile
    target: HostProfile
    shared: SharedCpuid
    moves: tuple[Move, ...]
    defects: tuple[tuple[KnownDefect, bool, bool], ...]

    @property
    def goes_on_in_each(self) -> bool:
        """True if a guest with all that the source supports goes on in every order."""
        return not any(move.findings for move in self._of_source)

    @property
    def goes_on_in_some(self) -> bool:
        """True if for each use of its state there is an order in which it goes on."""
        used = {move.use for move in self._of_source}
        return used == {move.use for move in self._of_source if not move.findings}

    @property
    def _of_source(self) -> tuple[Move, ...]:
        return tuple(move for move in self.moves if move.cpuid is Cpuid.SOURCE)


def compatibility(
    source: HostProfile, target: HostProfile, orders: Sequence[Preset], into: Into
) -> Compatibility:
    """Return what becomes of each guest in each order."""
    shared = shared_cpuid(source, target)
    tables = {Cpuid.SOURCE: source.supported}
    if (shared.xcr0, shared.xss) != (source.kvm_xcr0, source.kvm_xss):
        tables[Cpuid.SHARED] = shared.table(source)
    moves = tuple(
        Move(
            order.name,
            cpuid,
            use,
            explained(Saved(source, guest(source, table, use), target), order, into),
        )
        for cpuid, table in tables.items()
        for order in orders
        for use in uses(table, order.states)
    )
    return Compatibility(source, target, shared, moves, tuple(_defects(source, target)))


def _defects(source: HostProfile, target: HostProfile) -> Iterator[tuple[KnownDefect, bool, bool]]:
    for behaviour, defect in known_defects().items():
        has = behaviour in source.behaviours, behaviour in target.behaviours
        if any(has):
            yield (defect, *has)
