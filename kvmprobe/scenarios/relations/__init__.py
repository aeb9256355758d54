"""Scenarios that are derived from those of the catalogue, made only when they are asked for.

The id of a derived scenario is its base's with one more part, which says how it was derived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.relations.competing import COMPETING
from kvmprobe.scenarios.relations.host_live import HOST_LIVE
from kvmprobe.scenarios.relations.look import LOOK
from kvmprobe.scenarios.relations.moved_cpu import MOVED_CPU
from kvmprobe.scenarios.relations.moves import MOVED_PROCESS, MOVED_VCPU, MOVED_VM
from kvmprobe.scenarios.relations.reads import BLIND, UNREAD
from kvmprobe.scenarios.relations.repeats import BESIDE, KICKED, RAN, TWICE

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.relations.derivation import Derivation
    from kvmprobe.scenarios.scenario import Scenario

__all__ = ["BLIND", "DERIVATIONS", "UNREAD", "base_id", "derivation_of", "derive", "scenario"]

DERIVATIONS: tuple[Derivation, ...] = (
    BLIND,
    UNREAD,
    LOOK,
    TWICE,
    BESIDE,
    KICKED,
    RAN,
    MOVED_VCPU,
    MOVED_VM,
    MOVED_PROCESS,
    HOST_LIVE,
    COMPETING,
    MOVED_CPU,
)


# What may be asked for by name; blind twins are a matter of observation.
RELATIONS = tuple(derivation for derivation in DERIVATIONS if derivation is not BLIND)


def derivation_of(suffix: str) -> Derivation | None:
    """Return the derivation that makes ids with this last part, if one does."""
    return next((derivation for derivation in DERIVATIONS if derivation.makes(suffix)), None)


def base_id(name: str) -> str:
    """Return the id of the scenario that one with this id is derived from; empty if it is not."""
    base, _, suffix = name.rpartition(".")
    return base if derivation_of(suffix) else ""


def derive(base: Scenario, suffix: str) -> Scenario | None:
    """Return the scenario that is derived from a base; None if the base has no such one."""
    derivation = derivation_of(suffix)
    if derivation is None or suffix not in derivation.suffixes(base):
        return None
    return derivation.scenario(base, suffix)


def scenario(name: str, host: HostProfile) -> Scenario | None:
    """Return the scenario with that id, of the catalogue or derived."""
    found = catalog.scenario(name, host)
    if found is not None:
        return found
    base = catalog.scenario(base_id(name), host)
    return None if base is None else derive(base, name.rpartition(".")[2])
