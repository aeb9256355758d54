"""The answers of a replay, compared with the recording and with the model of the host."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.ioctls.vcpu import KVM_RUN_HEAD
from kvmprobe.abi.numbers import msr_name
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.model.outcome import HostDies
from kvmprobe.recordings.lines import Call, ObjectKind, Permission, ProcessLine, Run, Runs
from kvmprobe.results.difference import ResultDiffers, ValuesDiffer
from kvmprobe.results.known import known_defects
from kvmprobe.scenarios.calls import CANARY, Ioctl, Literal, MapMemory, Output, OutputBehind
from kvmprobe.vmm.findings import At
from kvmprobe.vmm.follow import KNOWN, Follower, is_immediate_exit, msr_entries
from kvmprobe.vmm.names import call_name, described, place_name
from kvmprobe.vmm.reads import reads_otherwise
from kvmprobe.vmm.replay_findings import (
    Cause,
    FailsHere,
    GivesOtherwise,
    NotAsModelled,
    Reason,
    ReturnsOtherwise,
)
from kvmprobe.vmm.review import NO_STATE, Review
from kvmprobe.vmm.same_values import differs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.results.difference import Difference
    from kvmprobe.results.trace import Reply
    from kvmprobe.scenarios.calls import Call as LoweredCall
    from kvmprobe.vmm.replay_findings import ReplayFinding
    from kvmprobe.vmm.taken import Taken

_MEMORY = "a slot has one page of zeros in a replay"
_RAN = "the guest ran in the recording, and does not in a replay"
_IMMEDIATE_EXIT = KVM_RUN_HEAD.offset("immediate_exit")
_CREATIONS = (ioctls.CREATE_VM, ioctls.CREATE_VCPU)
_LISTS = (ioctls.GET_MSRS, ioctls.SET_MSRS)
_NESTED = (ioctls.GET_NESTED_STATE, ioctls.SET_NESTED_STATE)
_KNOWN_NAMES = frozenset(map(msr_name, KNOWN))
_OF_THE_HOST = NO_STATE | {ioctls.CHECK_EXTENSION, ioctls.GET_TSC_KHZ}


@dataclass
class Replay(Review):
    """The findings of a replay.  What is judged was compared with the model.

    :ivar replayed: number of recorded calls that were issued
    :ivar compared: number of those that were compared with the recording
    :ivar not_compared: by (call, reason), how many were not
    :ivar not_replayed: by (call, reason), how many were not issued
    """

    replayed: int = 0
    compared: int = 0
    not_compared: Counter[tuple[str, str]] = field(default_factory=Counter)
    not_replayed: Counter[tuple[str, str]] = field(default_factory=Counter)


class Comparing:
    """Compares answers, one after the other.

    :ivar replay: the result so far
    """

    def __init__(self, recorded: HostProfile, here: HostProfile) -> None:
        """Begin.

        :param recorded: the host that the recording was made on
        :param here: the host of the replay
        """
        self.replay = Replay()
        self._here = here
        self._then = Follower(recorded)
        self._like_then = Follower(recorded)
        self._now = Follower(here)
        self._correct = Follower(here.without_defects)
        self._suspects = {
            behaviour: Follower(
                replace(recorded, behaviours=recorded.behaviours ^ frozenset({behaviour}))
            )
            for behaviour in recorded.behaviours ^ here.behaviours
        }
        self._defects = {
            behaviour: Follower(
                replace(here, behaviours=here.without_defects.behaviours | {behaviour})
            )
            for behaviour in here.behaviours & DEFECTS
        }
        self._ran: set[str] = set()
        self._doubt: set[str] = set()
        self._lacking: set[int] = set()
        self._other_msrs: set[str] = set()

    def pass_by(self, entry: Entry) -> None:
        """Take a line that is no call."""
        if isinstance(entry.line, ProcessLine):
            for follower in (self._then, *self._on_answers):
                follower.see_process(entry.line)
        elif isinstance(entry.line, Runs) and entry.line.count != 0:
            self._enter(entry)

    def take(self, entry: Entry, call: LoweredCall, reply: Reply) -> None:
        """Compare the answer of a call."""
        self.replay.replayed += 1
        answer = _answer(entry, call, reply)
        at, vcpu = At(entry.number, described(entry)), place_name(entry)
        then, now = self._then.take(entry), self._now.take(answer)
        if isinstance(entry.line, Run) and not is_immediate_exit(entry):
            self._enter(entry)
        self.replay.add(self._with_model(answer, at, vcpu, now))
        if why := self._incomparable(entry, call):
            self.replay.not_compared[call_name(entry), why] += 1
        else:
            self.replay.compared += 1
            self.replay.add(self._with_recording(entry, answer, at, vcpu, then, now))
        self._go_on(self._then, then, entry, vcpu)
        for follower in self._on_answers:
            self._go_on(
                follower, now if follower is self._now else follower.take(answer), answer, vcpu
            )

    @property
    def _on_answers(self) -> tuple[Follower, ...]:
        """The models that go along with the answers of the replay."""
        return (
            self._now,
            self._like_then,
            self._correct,
            *self._suspects.values(),
            *self._defects.values(),
        )

    def _enter(self, entry: Entry) -> None:
        if entry.target:
            self._ran |= {entry.target.id, entry.target.of or ""}

    def _incomparable(self, entry: Entry, call: LoweredCall) -> str:
        if isinstance(call, MapMemory) or entry.spec == ioctls.SET_USER_MEMORY_REGION:
            return _MEMORY
        target = entry.target
        ran = target is not None and {target.id, target.of or target.id} & self._ran
        return _RAN if ran and target and target.kind is not ObjectKind.KVM else ""

    def _with_model(self, answer: Entry, at: At, vcpu: str, now: Taken) -> Iterator[ReplayFinding]:
        result = now.recorded(answer)
        if why := now.why_not(result):
            self.replay.not_judged[call_name(answer), why] += 1
            if now.step and (result or 0) >= 0:
                self._doubt.add(vcpu)
            return
        self.replay.judged += 1
        difference = self._difference(self._now, answer, vcpu, now)
        if difference is not None:
            yield NotAsModelled(vcpu, at, difference, ())
            return
        known = self._difference(self._correct, answer, vcpu, self._correct.take(answer))
        if known is not None:
            ids = [b for b, one in self._defects.items() if self._agrees(one, answer, vcpu)]
            names = (known_defects()[b].id for b in ids or self._defects)
            yield NotAsModelled(vcpu, at, known, tuple(sorted(names)))
            self._correct.unknown[vcpu] = "it is reported"

    def _difference(
        self, follower: Follower, answer: Entry, vcpu: str, taken: Taken
    ) -> Difference | None:
        """Return how an answer differs from what a model expects; None if it does not judge it."""
        result = taken.recorded(answer)
        if taken.why_not(result) or result is None:
            return None
        if not taken.allows(result):
            return ResultDiffers(next(iter(taken.expected), None), result)
        if vcpu in self._doubt:
            return None
        return reads_otherwise(answer, taken, follower.machine.host)

    def _agrees(self, follower: Follower, answer: Entry, vcpu: str) -> bool:
        taken = follower.take(answer)
        return taken.is_judged and self._difference(follower, answer, vcpu, taken) is None

    def _with_recording(
        self, entry: Entry, answer: Entry, at: At, vcpu: str, then: Taken, now: Taken
    ) -> Iterator[ReplayFinding]:
        recorded, observed = _result(entry), _result(answer)
        if recorded is None or observed is None:
            return
        if entry.spec in _CREATIONS:
            recorded, observed = min(recorded, 0), min(observed, 0)
        if recorded != observed:
            if entry.spec == ioctls.CHECK_EXTENSION and not observed:
                self._lacking.add(getattr(entry.line, "argument", -1))
            reason, msr = self._reason(answer, vcpu, now), _ended_at(entry, observed)
            if _fails(entry, recorded, observed):
                yield FailsHere(vcpu, at, recorded, observed, reason, msr)
            else:
                yield ReturnsOtherwise(vcpu, at, recorded, observed, reason, msr)
            return
        difference = differs(entry, answer, (then, now), self._here.layout)
        if difference is not None and recorded >= 0:
            reason = self._reason_of_values(answer, vcpu, now, difference)
            if reason.cause is not Cause.EITHER:
                yield GivesOtherwise(vcpu, at, difference, reason)

    def _reason_of_values(
        self, answer: Entry, vcpu: str, now: Taken, difference: Difference
    ) -> Reason:
        if answer.spec == ioctls.GET_MSRS and isinstance(difference, ValuesDiffer):
            names = difference.expected.keys()
            if _of_the_host(answer):
                self._other_msrs |= names
            elif not names <= _KNOWN_NAMES:
                return Reason(Cause.NOT_MODELLED)
        return self._reason(answer, vcpu, now)

    def _reason(self, answer: Entry, vcpu: str, now: Taken) -> Reason:
        """Return why an answer can differ from the recording."""
        if _of_the_host(answer) or isinstance(answer.line, Permission) or self._lacks(answer):
            return Reason(Cause.HOST)
        ended_at = _ended_at(answer, _result(answer) or 0)
        if now.why_not(now.recorded(answer)) or ended_at not in {None, *KNOWN}:
            return Reason(Cause.NOT_MODELLED)
        if self._difference(self._now, answer, vcpu, now) is not None:
            return Reason(Cause.UNEXPECTED)
        if self._agrees(self._then, answer, vcpu):
            return Reason(Cause.EITHER)
        if vcpu in self._like_then.unknown or self._agrees(self._like_then, answer, vcpu):
            return Reason(Cause.EARLIER)
        found = [b.name for b, one in self._suspects.items() if self._agrees(one, answer, vcpu)]
        return Reason(Cause.KERNEL, tuple(sorted(found))) if found else Reason(Cause.HOST)

    def _lacks(self, answer: Entry) -> bool:
        """Return True if the host has not what a call needs."""
        msr = _ended_at(answer, _result(answer) or 0)
        if msr is not None:
            return msr not in self._here.msrs or msr_name(msr) in self._other_msrs
        if answer.spec == ioctls.ENABLE_CAP and answer.sent:
            return ioctls.KVM_ENABLE_CAP.packed.unpack_from(answer.sent)[0] in self._lacking
        return answer.spec in _NESTED and Capability.NESTED_STATE in self._lacking

    def defects_fatal_at(self, entry: Entry) -> tuple[str, ...]:
        """Return the ids of the host's known defects that make a call fatal."""
        steps = {b: follower.take(entry).step for b, follower in self._defects.items()}
        fatal = (b for b, step in steps.items() if step and isinstance(step.outcome, HostDies))
        return tuple(sorted(known_defects()[behaviour].id for behaviour in fatal))

    def _go_on(self, follower: Follower, taken: Taken, entry: Entry, vcpu: str) -> None:
        result = taken.recorded(entry)
        if taken.step is None or result is None:
            return
        if not taken.why_not(result) and not taken.allows(result):
            follower.unknown.setdefault(vcpu, "the model expected another result before")
        elif result >= 0 or taken.is_judged:
            follower.adopt(taken.step)


def _result(entry: Entry) -> int | None:
    result: int | None = getattr(entry.line, "result", None)
    return result


def _of_the_host(entry: Entry) -> bool:
    """Return True for a call whose answer says what a host offers, and that sets no state."""
    of_the_system = entry.target is not None and entry.target.kind is ObjectKind.KVM
    return (of_the_system and entry.spec not in _CREATIONS) or entry.spec in _OF_THE_HOST


def _fails(entry: Entry, recorded: int, observed: int) -> bool:
    """Return True if a call did less than in the recording, and a guest's state depends on it."""
    if _of_the_host(entry):
        return False
    return observed < recorded if entry.spec == ioctls.SET_MSRS else observed < 0 <= recorded


def _ended_at(entry: Entry, result: int) -> int | None:
    """Return the MSR at which a list ended."""
    if entry.spec not in _LISTS or entry.sent is None or result < 0:
        return None
    entries = msr_entries(entry.sent)
    return entries[result][0] if result < len(entries) else None


def _answer(entry: Entry, call: LoweredCall, reply: Reply) -> Entry:
    """Return the line as it would have been recorded in the replay."""
    line = entry.line
    assert isinstance(line, Call | Permission | Run)  # noqa: S101 - the others are not issued
    answer = replace(entry, line=replace(line, result=reply.result), got=None, got_value=None)
    if isinstance(line, Run):
        area = bytearray(KVM_RUN_HEAD.size)
        area[_IMMEDIATE_EXIT] = 1
        return replace(answer, sent=bytes(area))
    output = reply.output or b""
    match call.argument if isinstance(call, Ioctl) else None:
        case Literal(content):
            return replace(answer, sent=content)
        case Output():
            return replace(answer, got=output.rstrip(bytes([CANARY])))
        case OutputBehind(head) if entry.got_value is not None:
            return replace(answer, got_value=output[len(head) :])
        case _:
            return answer
