"""The calls that take the host down on kernels with a known defect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.outcome import HostDies
from kvmprobe.model.run import run_immediate_exit
from kvmprobe.results.known import known_defects
from kvmprobe.vmm import findings
from kvmprobe.vmm.findings import Reach
from kvmprobe.vmm.kernels import Kernels
from kvmprobe.vmm.reads import reads_otherwise

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from kvmprobe.model.behaviours import Behaviour
    from kvmprobe.model.host import HostProfile
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.results.known import KnownDefect
    from kvmprobe.vmm.findings import At
    from kvmprobe.vmm.taken import Taken


def panics() -> Mapping[Behaviour, KnownDefect]:
    """Return the known defects that take the host down."""
    return {behaviour: d for behaviour, d in known_defects().items() if d.panics_in}


class FatalCalls:
    """Kernels with one such defect each, and one with none, beside the judged one.

    :ivar kernels: all of them, along a recording
    """

    def __init__(self, host: HostProfile) -> None:
        self._here = host.behaviours
        self._without = host.behaviours - frozenset(panics())
        self._with = {self._without | {behaviour}: behaviour for behaviour in panics()}
        self.kernels = Kernels(host, (self._without, *self._with))
        self._reported: set[tuple[str, Behaviour]] = set()

    def reads(self, entry: Entry, taken: Taken) -> bool:
        """Return True if one of them reads what a call read.

        While a program is traced, its thread's FPU registers are in memory at each call; some of
        the defects do not show then.

        :param taken: what the judged kernel's model says of the call
        :see: arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd, TIF_NEED_FPU_LOAD
        """
        for kernel in (self._without, *self._with):
            own = self.kernels.taken_by(kernel, taken)
            host = self.kernels.host(kernel)
            if own.is_judged and reads_otherwise(entry, own, host) is None:
                return True
        return False

    def found(self, taken: Taken, vcpu: str, at: At) -> Iterator[findings.HostDies]:
        """Return the defects that make the entry that was taken fatal, once for each vCPU."""
        if taken.step is None or not (self.kernels.parted() or _dies(taken)):
            return
        fatal = [
            behaviour
            for kernel, behaviour in self._with.items()
            if _dies(self.kernels.taken_by(kernel, taken))
        ]
        yield from self._new(fatal, vcpu, at)

    def run(self, vcpu: str, at: At) -> Iterator[findings.HostDies]:
        """Return the defects that would make a KVM_RUN fatal now."""
        fatal = [
            self._with[kernel]
            for kernel, machine in self.kernels.machines(vcpu)
            if kernel in self._with
            and isinstance(run_immediate_exit(machine, vcpu).outcome, HostDies)
        ]
        yield from self._new(fatal, vcpu, at)

    def _new(self, fatal: Collection[Behaviour], vcpu: str, at: At) -> Iterator[findings.HostDies]:
        new = [behaviour for behaviour in fatal if (vcpu, behaviour) not in self._reported]
        self._reported |= {(vcpu, behaviour) for behaviour in new}
        for reach in Reach:
            here = reach is Reach.THIS_KERNEL
            ids = [known_defects()[b].id for b in new if (b in self._here) is here]
            if ids:
                yield findings.HostDies(vcpu, at, tuple(ids), reach)


def _dies(taken: Taken) -> bool:
    return taken.step is not None and isinstance(taken.step.outcome, HostDies)
