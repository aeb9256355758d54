"""Goes through a recording with the model, and finds what is wrong with the VMM's calls."""

from __future__ import annotations

import errno
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.model.outcome import Failed
from kvmprobe.recordings.lines import Call, Permission, ProcessLine, Run, Runs
from kvmprobe.vmm.fatal import FatalCalls
from kvmprobe.vmm.findings import (
    Asked,
    At,
    Differs,
    ImageCut,
    PermissionMissing,
    Piece,
    PieceKind,
    ReadsOtherwise,
    Refused,
)
from kvmprobe.vmm.follow import KNOWN, is_immediate_exit, lacks_payload, msr_entries
from kvmprobe.vmm.names import call_name, place_name
from kvmprobe.vmm.neighbours import Accepted, order_matters
from kvmprobe.vmm.pieces import TSC_DEADLINE
from kvmprobe.vmm.reads import reads_otherwise
from kvmprobe.vmm.restore import Restore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.abi.ioctls import IoctlSpec
    from kvmprobe.model.host import HostProfile
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.vmm.findings import Finding
    from kvmprobe.vmm.replay_findings import Found
    from kvmprobe.vmm.taken import Taken

_RAN = "the guest has run, so its state is not known"
_UNREAD = "the payload of a call before was not recorded"
_DIFFERED = "the model expected another result before"
# They set no state that a guest is saved with; programs try them, and go on without.
NO_STATE = frozenset({ioctls.SET_GUEST_DEBUG, ioctls.SET_TSC_KHZ})
_NEXT_RUN = "a KVM_RUN after this"
MOST_FINDINGS = 10_000
_SAVED = frozenset({*(Piece(PieceKind.MSR, index) for index in KNOWN), TSC_DEADLINE})


class Kernel(Enum):
    """The judged kernel."""

    RECORDED = "recorded"
    """The one that the recording was made on: its results decide."""
    OTHER = "other"
    """Another one: the model's results decide."""


@dataclass
class Review:
    """The findings about a recording, for one kernel.

    :ivar left_out: number of findings beyond the first MOST_FINDINGS
    :ivar calls: number of calls
    :ivar judged: number of those whose result was compared with the model's
    :ivar not_judged: by (call, reason), how many were not
    """

    findings: list[Found] = field(default_factory=list)
    left_out: int = 0
    calls: int = 0
    judged: int = 0
    not_judged: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, findings: Iterable[Found]) -> None:
        """Add findings while there is room."""
        for finding in findings:
            if len(self.findings) < MOST_FINDINGS:
                self.findings.append(finding)
            else:
                self.left_out += 1


class Reviewer:
    """Reviews entries, one after the other.

    What a vCPU reads is not compared once the model had to take a value that it does not cover.

    :ivar review: the result so far
    """

    def __init__(self, host: HostProfile, kernel: Kernel) -> None:
        self.review = Review()
        self._host = host
        self._kernel = kernel
        self._fatal = FatalCalls(host)
        self._kernels = self._fatal.kernels
        self._follower = self._kernels.judged
        self._restores: dict[str, Restore] = {}
        self._notes: dict[str, list[Finding]] = defaultdict(list)
        self._entered: set[str] = set()
        self._doubt: set[str] = set()
        self._saved: dict[str, set[Piece]] = defaultdict(set)
        self._requests: dict[int, tuple[At, int]] = {}
        self._last: dict[str, Accepted] = {}

    def take(self, entry: Entry) -> None:
        """Review an entry."""
        entry = entry.with_whole_payloads()
        line, vcpu = entry.line, place_name(entry)
        if isinstance(line, ProcessLine):
            self._kernels.see_process(line)
        elif isinstance(line, Runs) and line.count != 0:
            self.review.add(self._enter(vcpu, At(entry.number, "KVM_RUN")))
        elif isinstance(line, Call | Permission | Run):
            self.review.calls += 1
            at = At(entry.number, call_name(entry))
            self.review.add(self._call(entry, vcpu, at))

    def finished(self) -> Review:
        """Return the result, with what the next KVM_RUN of each restored vCPU would meet.

        A recording can end there because the host died.
        """
        for vcpu, restore in self._restores.items():
            if restore.has_image and restore.last:
                at = At(restore.last.line, _NEXT_RUN)
                self.review.add(self._fatal.run(vcpu, at))
                self.review.add(restore.losses())
        self._restores.clear()
        return self.review

    def _call(self, entry: Entry, vcpu: str, at: At) -> Iterator[Finding]:
        before = self._follower.machine
        taken = self._kernels.take(entry)
        yield from self._fatal.found(taken, vcpu, at)
        yield from self._compare(entry, vcpu, at, taken)
        result = self._result(entry, taken)
        if isinstance(entry.line, Permission):
            if entry.line.code == ArchPrctlCode.REQ_XCOMP_GUEST_PERM and result is not None:
                self._requests[entry.line.process] = at, result
                if result == -errno.EBUSY:
                    process = f"process {entry.line.process}"
                    yield PermissionMissing(process, at, Asked.TOO_LATE, at)
            return
        if entry.spec == ioctls.SET_CPUID2 and result == -errno.EPERM:
            yield from self._permission(entry, vcpu, at)
        if entry.spec == ioctls.GET_MSRS and entry.got and result is not None and entry.target:
            self._save(entry.target.of or "", entry.got, result)
        if result is not None and _sets_state(entry.spec):
            self._set(vcpu, result, Accepted(entry, at, before, taken))
        if isinstance(entry.line, Run) and not is_immediate_exit(entry):
            yield from self._enter(vcpu, at)
        elif (state := self._follower.vcpu(vcpu)) and vcpu in self._restores:
            self._restores[vcpu].watch(self._host, state, at)

    def _set(self, vcpu: str, result: int, call: Accepted) -> None:
        """Add a call that sets state."""
        restore = self._restores.setdefault(vcpu, Restore(vcpu))
        restore.take(call.entry, call.at, result, self._host)
        if result < 0:
            return
        if lacks_payload(call.entry):
            restore.is_certain = False
            self._kernels.lose(vcpu, _UNREAD)
        self._compare_order(vcpu, call)

    def _compare(self, entry: Entry, vcpu: str, at: At, taken: Taken) -> Iterator[Finding]:
        """Compare results, and go on to the state after the call."""
        recorded = taken.recorded(entry)
        why = taken.why_not(recorded)
        if recorded is None or why:
            self.review.not_judged[at.call, why] += 1
            if taken.step and (recorded or 0) >= 0:
                self._kernels.go_on(taken)
                self._doubt.add(vcpu)
            return
        assert taken.step is not None  # noqa: S101 - it is judged
        self.review.judged += 1
        if entry.spec == ioctls.GET_XSAVE and isinstance(taken.step.outcome, Failed):
            yield ImageCut(vcpu, at, self._follower.machine.vcpu(vcpu).fpstate.uabi_size)
        if taken.allows(recorded):
            self._kernels.go_on(taken)
            if self._kernel is Kernel.RECORDED and vcpu not in self._doubt:
                difference = reads_otherwise(entry, taken, self._host)
                if difference and not self._fatal.reads(entry, taken):
                    yield ReadsOtherwise(vcpu, at, difference)
        elif self._kernel is Kernel.OTHER:
            self._kernels.go_on(taken)
            if recorded >= 0:
                yield from self._refused(entry, vcpu, at, taken)
        else:
            yield Differs(vcpu, at, taken.expected, recorded)
            self._kernels.lose(vcpu, _DIFFERED)

    def _refused(self, entry: Entry, vcpu: str, at: At, taken: Taken) -> Iterator[Finding]:
        [expected, *_] = taken.expected
        if expected < 0:
            is_permission = entry.spec == ioctls.SET_CPUID2 and expected == -errno.EPERM
            if not is_permission:
                yield Refused(vcpu, at, -expected)
        elif entry.spec == ioctls.SET_MSRS and entry.sent:
            known = [index for index, _ in msr_entries(entry.sent) if index in KNOWN]
            yield Refused(vcpu, at, 0, known[expected])

    def _result(self, entry: Entry, taken: Taken) -> int | None:
        """Return the call's result on the judged kernel."""
        recorded: int | None = getattr(entry.line, "result", None)
        if self._kernel is Kernel.OTHER and taken.is_judged and taken.counted is None:
            return next(iter(taken.expected), recorded)
        return recorded

    def _permission(self, entry: Entry, vcpu: str, at: At) -> Iterator[Finding]:
        process: int = getattr(entry.line, "process", 0)
        request, result = self._requests.get(process, (None, 0))
        if request is None:
            yield PermissionMissing(vcpu, at, Asked.NEVER)
        elif result == -errno.EBUSY:
            yield PermissionMissing(vcpu, at, Asked.TOO_LATE, request)
        elif result < 0:
            yield PermissionMissing(vcpu, at, Asked.REFUSED, request)

    def _save(self, vm: str, got: bytes, count: int) -> None:
        pieces = {
            Piece(PieceKind.MSR, i) for i, value in msr_entries(got)[: max(count, 0)] if value
        }
        self._saved[vm] |= pieces & _SAVED

    def _compare_order(self, vcpu: str, call: Accepted) -> None:
        if last := self._last.get(vcpu):
            note = order_matters(vcpu, last, call)
            self._notes[vcpu] += [note] if note else []
        self._last[vcpu] = call

    def _enter(self, vcpu: str, at: At) -> Iterator[Finding]:
        """Review a vCPU's restore as its guest is entered; after that its state is not known."""
        restore = self._restores.pop(vcpu, Restore(vcpu))
        first = vcpu not in self._entered
        others = (pieces for vm, pieces in self._saved.items() if not vcpu.endswith(f" of {vm}"))
        saved = set[Piece]().union(*others) if first else set()
        state = self._follower.vcpu(vcpu) if first else None
        yield from restore.at_entry(self._host, state, saved, at)
        notes = self._notes.pop(vcpu, [])
        yield from notes if restore.has_image and first else ()
        self._last.pop(vcpu, None)
        self._entered.add(vcpu)
        self._kernels.lose(vcpu, _RAN)


def _sets_state(spec: IoctlSpec | None) -> bool:
    return (
        spec is not None
        and spec.on is Descriptor.VCPU
        and spec.name.startswith("KVM_SET_")
        and spec not in NO_STATE
    )
