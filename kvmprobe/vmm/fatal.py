"""The calls that take the host down on kernels with a known defect."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.model.outcome import HostDies
from kvmprobe.model.run import run_immediate_exit
from kvmprobe.results.known import known_defects
from kvmprobe.vmm import findings
from kvmprobe.vmm.findings import Reach
from kvmprobe.vmm.follow import Follower
from kvmprobe.vmm.reads import reads_otherwise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmprobe.model.behaviours import Behaviour, Behaviours
    from kvmprobe.model.host import HostProfile
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.recordings.lines import ProcessLine
    from kvmprobe.results.known import KnownDefect
    from kvmprobe.vmm.findings import At
    from kvmprobe.vmm.taken import Taken


def panics() -> Mapping[Behaviour, KnownDefect]:
    """Return the known defects that take the host down."""
    return {behaviour: d for behaviour, d in known_defects().items() if d.panics_in}


class FatalCalls:
    """Models of kernels with one such defect each, and of one with none, along a recording."""

    def __init__(self, host: HostProfile) -> None:
        self._here: Behaviours = host.behaviours
        others = host.behaviours - frozenset(panics())
        self._followers = {
            behaviour: Follower(replace(host, behaviours=others | {behaviour}))
            for behaviour in panics()
        }
        self._without = Follower(replace(host, behaviours=others))
        self._reported: set[tuple[str, Behaviour]] = set()

    def see_process(self, line: ProcessLine) -> None:
        """Add a process."""
        for follower in self._all:
            follower.see_process(line)

    def lose(self, vcpu: str, why: str) -> None:
        """Note that the state of a vCPU is no longer known."""
        for follower in self._all:
            follower.unknown[vcpu] = why

    def reads(self, entry: Entry) -> bool:
        """Return True if one of them reads what a call read.

        While a program is traced, its thread's FPU registers are in memory at each call; some of
        the defects do not show then.

        :see: arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd, TIF_NEED_FPU_LOAD
        """
        taken = ((one, one.take(entry)) for one in self._all)
        return any(
            step.is_judged and reads_otherwise(entry, step, one.machine.host) is None
            for one, step in taken
        )

    @property
    def _all(self) -> tuple[Follower, ...]:
        return (self._without, *self._followers.values())

    def take(self, entry: Entry, vcpu: str, at: At) -> Iterator[findings.HostDies]:
        """Return the defects that make an entry fatal, once for each vCPU; go on without the end.

        The recorded kernel survived: a call that failed there changes nothing here.
        """
        without = self._without.take(entry)
        if without.step is None:
            return
        self._adopt(self._without, without, entry)
        fatal = []
        for behaviour, follower in self._followers.items():
            taken = follower.take(entry)
            if taken.step is None:
                continue
            if isinstance(taken.step.outcome, HostDies):
                fatal.append(behaviour)
            else:
                self._adopt(follower, taken, entry)
        yield from self._found(fatal, vcpu, at)

    @staticmethod
    def _adopt(follower: Follower, taken: Taken, entry: Entry) -> None:
        if taken.step and (taken.recorded(entry) or 0) >= 0:
            follower.adopt(taken.step)

    def run(self, vcpu: str, at: At) -> Iterator[findings.HostDies]:
        """Return the defects that would make a KVM_RUN fatal now."""
        known = {b: f.machine for b, f in self._followers.items() if f.vcpu(vcpu)}
        steps = {b: run_immediate_exit(machine, vcpu) for b, machine in known.items()}
        fatal = [b for b, step in steps.items() if isinstance(step.outcome, HostDies)]
        yield from self._found(fatal, vcpu, at)

    def _found(self, fatal: Iterable[Behaviour], vcpu: str, at: At) -> Iterator[findings.HostDies]:
        new = [behaviour for behaviour in fatal if (vcpu, behaviour) not in self._reported]
        self._reported |= {(vcpu, behaviour) for behaviour in new}
        for reach in Reach:
            here = reach is Reach.THIS_KERNEL
            ids = [known_defects()[b].id for b in new if (b in self._here) is here]
            if ids:
                yield findings.HostDies(vcpu, at, tuple(ids), reach)
