"""Kernels that differ in their behaviours, along one recording."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import WatchedBehaviours
from kvmprobe.model.outcome import HostDies
from kvmprobe.vmm.follow import Follower

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.recordings.lines import ProcessLine
    from kvmprobe.vmm.taken import Taken


class Kernels:
    """The model of the judged kernel, and of others that have the same host and other behaviours.

    A kernel goes along with the judged one until a step asks for a behaviour that one of them has.
    It comes back when its state is the same again.

    :ivar judged: the judged kernel's model
    """

    def __init__(self, host: HostProfile, others: Iterable[Behaviours]) -> None:
        watched = WatchedBehaviours(host.behaviours)
        self._asked = watched.asked
        self.judged = Follower(replace(host, behaviours=watched))
        self._hosts = {kernel: replace(host, behaviours=kernel) for kernel in others}
        self._differences = {kernel: kernel ^ host.behaviours for kernel in self._hosts}
        self._apart: dict[Behaviours, Follower] = {}
        self._own: dict[Behaviours, Taken] = {}

    def see_process(self, line: ProcessLine) -> None:
        """Add a process."""
        for follower in (self.judged, *self._apart.values()):
            follower.see_process(line)

    def lose(self, vcpu: str, why: str) -> None:
        """Note that the state of a vCPU is no longer known; the first reason stays."""
        self.judged.unknown.setdefault(vcpu, why)

    def take(self, entry: Entry) -> Taken:
        """Return what the judged kernel's model says of an entry; the states stay."""
        before = self.judged.machine
        self._asked.clear()
        self._own.clear()
        taken = self.judged.take(entry)
        if taken.step is None:
            return taken
        for kernel, difference in self._differences.items():
            if kernel not in self._apart:
                if self._asked.isdisjoint(difference):
                    continue
                self._apart[kernel] = self._parted(kernel, before)
            self._own[kernel] = self._apart[kernel].take(entry)
        return taken

    def _parted(self, kernel: Behaviours, machine: Machine) -> Follower:
        follower = Follower(self._hosts[kernel])
        follower.machine = machine._replace(host=self._hosts[kernel])
        follower.unknown = self.judged.unknown
        return follower

    def taken_by(self, kernel: Behaviours, taken: Taken) -> Taken:
        """Return what another kernel's model says of the entry that was taken last.

        :param taken: what the judged kernel's model says
        """
        return self._own.get(kernel, taken)

    def parted(self) -> bool:
        """Return True if a kernel has a step of its own at the entry that was taken last."""
        return bool(self._own)

    def host(self, kernel: Behaviours) -> HostProfile:
        """Return the host with another kernel."""
        return self._hosts[kernel]

    def go_on(self, taken: Taken) -> None:
        """Go on to the states after the entry that was taken last.

        A kernel that would not survive it stays as it is: the recorded one did.
        """
        if taken.step is None:
            return
        self.judged.adopt(taken.step)
        for kernel, own in self._own.items():
            if own.step and not isinstance(own.step.outcome, HostDies):
                self._apart[kernel].adopt(own.step)
        state = self.judged.machine[1:]
        for kernel in [one for one, f in self._apart.items() if f.machine[1:] == state]:
            del self._apart[kernel]

    def machines(self, vcpu: str) -> Iterator[tuple[Behaviours, Machine]]:
        """Yield the state of each other kernel, if it knows that of a vCPU."""
        if self.judged.vcpu(vcpu) is None:
            return
        for kernel, host in self._hosts.items():
            apart = self._apart.get(kernel)
            yield kernel, apart.machine if apart else self.judged.machine._replace(host=host)
