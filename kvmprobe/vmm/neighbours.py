"""Calls that do not commute with the one before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.vmm.findings import OrderMatters
from kvmprobe.vmm.follow import Follower

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.vmm.findings import At
    from kvmprobe.vmm.taken import Taken


@dataclass(frozen=True, slots=True)
class Accepted:
    """A call that set state of a vCPU.

    :ivar before: the state before it
    :ivar taken: what the model says of it there
    """

    entry: Entry
    at: At
    before: Machine
    taken: Taken

    @property
    def changes_nothing(self) -> bool:
        """True if the model judges the call, and the state after it is the one before."""
        step = self.taken.step
        return step is not None and not self.taken.why and step.machine is self.before

    def taken_from(self, machine: Machine) -> Taken:
        """Return what the model says of it in another state."""
        return self.taken if machine is self.before else Follower.at(machine).take(self.entry)

    def agrees(self, taken: Taken) -> bool:
        """Return True if the recorded result is legal."""
        return taken.allows(taken.recorded(self.entry) or 0)


def order_matters(vcpu: str, first: Accepted, second: Accepted) -> OrderMatters | None:
    """Return a note if two calls in the other order would have another result.

    Calls between them that read are left out of both orders: reading has effects of its own.
    """
    if first.entry.spec == second.entry.spec or (first.changes_nothing and second.changes_nothing):
        return None
    as_made = swapped = first.before
    for call in (first, second):
        taken = call.taken_from(as_made)
        if taken.step is None or taken.why or not call.agrees(taken):
            return None
        as_made = taken.step.machine
    for call in (second, first):
        taken = call.taken_from(swapped)
        if taken.step is None or taken.why:
            return None
        if not call.agrees(taken):
            return OrderMatters(vcpu, first.at, second.at, call.at)
        swapped = taken.step.machine
    if as_made.vcpus.get(vcpu) == swapped.vcpus.get(vcpu):
        return None
    return OrderMatters(vcpu, first.at, second.at, None)
