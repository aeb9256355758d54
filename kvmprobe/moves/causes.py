"""Why a guest is refused or loses something: order, target, defect, or an ABI that is silent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import DEFECTS, Behaviour
from kvmprobe.moves.restoring import Fatal, Lost, restored
from kvmprobe.results.known import known_defects
from kvmprobe.vmm.findings import Piece, PieceKind
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.model.host import HostProfile
    from kvmprobe.moves.orders import Saved
    from kvmprobe.moves.restoring import Finding, Into
    from kvmprobe.scenarios.presets import Preset

_TILE_DATA = Piece(PieceKind.COMPONENT, XFeature.XTILE_DATA)
# Documentation/virt/kvm/api.rst does not say what KVM_SET_XSAVE does with a component whose bit is
# set in IA32_XFD: kernels before commit b45f72177594 keep it, later ones leave it in INIT state.
_KEEP_ARMED = {Behaviour.SET_XSAVE_KEEPS_XFD_ARMED, Behaviour.XFD_WRITE_KEEPS_XSTATE_BV}


class Cause(StrEnum):
    """Why something is refused or lost."""

    ORDER = "order"
    """The order does it on the source as well, with a kernel that has no defects."""
    TARGET = "target"
    """The target does, with or without defects: it lacks what the source has."""
    DEFECT = "defect"
    """Only a kernel with a known defect does."""
    ABI = "abi"
    """The order does, on some kernels, and no document says which of them are right."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A finding, and why.

    :ivar defects: ids of the known defects without each of which it would not be
    """

    finding: Finding
    cause: Cause
    defects: tuple[str, ...] = ()


def explained(saved: Saved, order: Preset, into: Into) -> tuple[Explained, ...]:
    """Return what is wrong with a restored guest, and why."""
    source, target = saved.host, saved.target

    def found(reads: HostProfile, takes: HostProfile) -> tuple[Finding, ...]:
        return restored(saved._replace(host=reads, target=takes), order.tokens, into)

    findings = found(source, target)
    if not findings:
        return ()
    correct = source.without_defects
    by_order = found(correct, correct)
    by_target = found(correct, target.without_defects)

    def one(finding: Finding) -> Explained:
        if finding in by_order:
            keeps = replace(correct, behaviours=correct.behaviours | _KEEP_ARMED)
            is_open = _of_tiles(finding) and _goes_on(finding, found(correct, keeps))
            return Explained(finding, Cause.ABI if is_open else Cause.ORDER)
        if finding in by_target:
            return Explained(finding, Cause.TARGET)
        needed = (
            behaviour
            for behaviour in (source.behaviours | target.behaviours) & DEFECTS
            if finding not in found(_without(source, behaviour), _without(target, behaviour))
        )
        return Explained(finding, Cause.DEFECT, _ids(needed))

    return tuple(map(one, findings))


def _of_tiles(finding: Finding) -> bool:
    return isinstance(finding, Lost) and finding.piece == _TILE_DATA


def _goes_on(finding: Finding, others: tuple[Finding, ...]) -> bool:
    return finding not in others and not any(isinstance(other, Fatal) for other in others)


def _without(host: HostProfile, behaviour: Behaviour) -> HostProfile:
    return replace(host, behaviours=host.behaviours - {behaviour})


def _ids(behaviours: Iterable[Behaviour]) -> tuple[str, ...]:
    return tuple(sorted(known_defects()[behaviour].id for behaviour in behaviours))
