"""From the answers of a replay to its findings; and where a replay must stop on a real host."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.judge.log_signatures import violations
from kvmprobe.model.outcome import HostDies
from kvmprobe.recordings.lines import Call, Permission, ProcessLine, Run
from kvmprobe.results.known import known_defects
from kvmprobe.results.trace import End
from kvmprobe.vmm.fatal import panics
from kvmprobe.vmm.findings import At
from kvmprobe.vmm.follow import Follower
from kvmprobe.vmm.names import call_name, place_name
from kvmprobe.vmm.replay import Comparing
from kvmprobe.vmm.replay_findings import (
    HostDied,
    KernelReports,
    ReplayEnded,
    StoppedBefore,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.model.behaviours import Behaviour, Behaviours
    from kvmprobe.model.host import HostProfile
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.results.record import Crash
    from kvmprobe.results.trace import Trace
    from kvmprobe.vmm.reissue import Reissue
    from kvmprobe.vmm.replay import Replay
    from kvmprobe.vmm.replay_findings import ReplayFinding

_ENDED = "the replay ended before"


def safe_part(
    entries: Sequence[Entry], host: HostProfile, suspected: Behaviours
) -> tuple[Sequence[Entry], StoppedBefore | None]:
    """Return the entries before the first one that takes the host down.

    :param suspected: defects that the kernel has or may have
    """
    places = {b: _fatal(entries, host, b) for b in suspected & panics().keys()}
    fatal = {behaviour: place for behaviour, place in places.items() if place is not None}
    if not fatal:
        return entries, None
    first = min(fatal.values())
    entry = entries[first]
    ids = tuple(sorted(known_defects()[b].id for b, place in fatal.items() if place == first))
    return entries[:first], StoppedBefore(place_name(entry), _at(entry), ids)


def _fatal(entries: Sequence[Entry], host: HostProfile, defect: Behaviour) -> int | None:
    """Return the index of the first entry that is fatal with a defect.

    The recorded kernel may have refused what this one takes: gate and read-backs are there for
    that.
    """
    follower = Follower(replace(host, behaviours=host.behaviours | {defect}))
    for index, entry in enumerate(entries):
        if isinstance(entry.line, ProcessLine):
            follower.see_process(entry.line)
        if not isinstance(entry.line, Call | Permission | Run):
            continue
        taken = follower.take(entry.with_whole_payloads())
        if taken.step and isinstance(taken.step.outcome, HostDies):
            return index
        if taken.step and (taken.recorded(entry) or 0) >= 0:
            follower.adopt(taken.step)
    return None


def replayed(
    made: Reissue, trace: Trace, crash: Crash | None, recorded: HostProfile, here: HostProfile
) -> Replay:
    """Return the findings of a replay.

    :param crash: of the host, in the call after the trace's last step
    """
    comparing = Comparing(recorded, here)
    comparing.replay.not_replayed = made.left_out
    answers = iter(trace.steps)
    for step in made.steps:
        if step.call is None:
            assert step.entry is not None  # noqa: S101 - a line
            comparing.pass_by(step.entry)
            continue
        answer = next(answers, None)
        if answer is None:
            left = [
                one.entry for one in made.steps[made.steps.index(step) :] if one.call and one.entry
            ]
            comparing.replay.add(_ended(left[0], trace, crash, comparing))
            made.leave_out(left, _ENDED)
            break
        if step.entry is not None:
            vcpu, at = place_name(step.entry), _at(step.entry)
            logged = (KernelReports(vcpu, at, m) for m in violations(answer.kernel_log))
            comparing.replay.add(logged)
            comparing.take(step.entry, step.call, answer.replies[0])
    comparing.replay.calls = comparing.replay.replayed + sum(made.left_out.values())
    return comparing.replay


def _ended(
    entry: Entry, trace: Trace, crash: Crash | None, comparing: Comparing
) -> Iterator[ReplayFinding]:
    vcpu, at = place_name(entry), _at(entry)
    if trace.end is End.GATED:
        yield StoppedBefore(vcpu, at, ())
    elif crash is not None:
        yield HostDied(vcpu, at, crash.headline, comparing.defects_fatal_at(entry))
    else:
        yield ReplayEnded(vcpu, at, trace.end_note or trace.end.value)


def _at(entry: Entry) -> At:
    return At(entry.number, call_name(entry))
