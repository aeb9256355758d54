"""Calls that do not commute with the one before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.vmm.findings import OrderMatters

if TYPE_CHECKING:
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.vmm.findings import At
    from kvmprobe.vmm.follow import Follower


@dataclass(frozen=True, slots=True)
class Accepted:
    """A call that set state of a vCPU, and the state before it."""

    entry: Entry
    at: At
    before: Follower


def order_matters(vcpu: str, first: Accepted, second: Entry, at: At) -> OrderMatters | None:
    """Return a note if two calls in the other order would have another result.

    Calls between them that read are left out of both orders: reading has effects of its own.
    """
    if first.entry.spec == second.spec:
        return None
    calls = ((first.entry, first.at), (second, at))
    as_made, swapped = first.before.copy(), first.before.copy()
    for follower, order in ((as_made, calls), (swapped, calls[::-1])):
        for entry, place in order:
            taken = follower.take(entry)
            if taken.step is None or taken.why:
                return None
            if not taken.allows(taken.recorded(entry) or 0):
                return OrderMatters(vcpu, first.at, at, place) if follower is swapped else None
            follower.adopt(taken.step)
    if as_made.vcpu(vcpu) == swapped.vcpu(vcpu):
        return None
    return OrderMatters(vcpu, first.at, at, None)
