"""Replays of recorded scenarios, with the answers that a kernel gave in a transcript."""

from __future__ import annotations

import errno
from collections.abc import Callable  # noqa: TC003
from dataclasses import dataclass, replace

from kvmprobe.execution.preflight import Preflight
from kvmprobe.recordings.lines import Call, Permission, Run
from kvmprobe.recordings.reader import RecordingReader
from kvmprobe.results.record import Crash  # noqa: TC001
from kvmprobe.results.trace import End, Reply, Trace, TraceStep
from kvmprobe.vmm.reissue import ReadBack, reissue
from kvmprobe.vmm.replayed import replayed
from tests.support.recorded_scenarios import recorded
from tests.support.recordings import of_program


def entries_of(path):
    """Read a recording; returns the profile of its host, and its entries."""
    with RecordingReader(path) as reader:
        return Preflight.of_recorded(dict(reader.host)).profile, list(reader)


def qemu(folder):
    """Profile and entries of a QEMU that restored a guest on 7.3.4."""
    return entries_of(of_program("qemu-7.2-restore-7.3.4", folder))


@dataclass
class Answers:
    """What answers a replay.

    :ivar kernel: of the transcript
    :ivar change: returns another reply, of the name of a call and its reply
    """

    kernel: str
    end: End = End.DONE
    change: Callable[[str, Reply], Reply] = lambda _name, reply: reply
    crash: Crash | None = None


def replay_of(scenario, recorded_on, answers, folder):
    """Replay a scenario that was recorded on one kernel."""
    then, entries = entries_of(recorded(recorded_on, scenario, folder / "recorded"))
    here, others = entries_of(recorded(answers.kernel, scenario, folder / "answers"))
    made = reissue(entries, here, ReadBack.NEVER)
    asked, given = (
        [one for one in lines if isinstance(one.line, Call | Permission | Run)]
        for lines in (entries, others)
    )
    answer_to = dict(zip((one.number for one in asked), given, strict=False))
    steps = []
    for step in made.steps:
        if step.call is None:
            continue
        if step.entry is None:
            steps.append(TraceStep((Reply(3),)))
            continue
        answer = answer_to.get(step.entry.number)
        if answer is None:
            break
        # In a replay each KVM_RUN exits at once.
        result = -errno.EINTR if isinstance(answer.line, Run) else answer.line.result
        reply = Reply(result, answer.got)
        name = answer.spec.name if answer.spec else ""
        steps.append(TraceStep((answers.change(name, reply),)))
    return replayed(made, Trace(tuple(steps), answers.end), answers.crash, then, here)


def with_result(call, result):
    """Return a change of one call's result."""
    return lambda name, reply: replace(reply, result=result) if name == call else reply
