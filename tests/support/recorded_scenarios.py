"""Recordings of a scenario's calls, with the results that a real kernel gave in a transcript."""

from __future__ import annotations

from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.abi.ioctls.vcpu import KVM_RUN_HEAD
from kvmprobe.execution.preflight import profile_of
from kvmprobe.recordings.lines import (
    Call,
    EndReason,
    ObjectKind,
    ObjectLine,
    Order,
    Permission,
    ProcessChange,
    ProcessLine,
    Run,
)
from kvmprobe.recordings.writer import RecordingWriter
from kvmprobe.results.transcript import Transcript
from kvmprobe.scenarios.calls import (
    ArchPrctl,
    Captured,
    Immediate,
    Ioctl,
    Literal,
    LiteralAtPageEnd,
    Output,
    RunVcpu,
)
from tests.support.recordings import HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.results.trace import Reply
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
_OBJECTS = {"kvm": ObjectKind.KVM, "vm": ObjectKind.VM, "vcpu0": ObjectKind.VCPU}


@cache
def transcript(kernel: str) -> Transcript:
    """The answers of one kernel."""
    return Transcript.from_bytes((TRANSCRIPTS / f"{kernel}.xz").read_bytes())


def recorded(kernel: str, scenario: str, path: Path) -> Path:
    """Write what the calls of a scenario were on a kernel; returns the file."""
    known = transcript(kernel)
    [entry] = [entry for entry in known.entries if entry.scenario.id == scenario]
    with path.open("wb") as file:
        facts = {
            **known.facts,
            "behaviours": {"found": sorted(b.name for b in known.behaviours), "undetermined": []},
        }
        writer = RecordingWriter(file, HEADER, facts)
        writer.write(ProcessLine(0, ProcessChange.START, 0, 100, program="/usr/bin/vmm"))
        order = count(1, 2)
        kept: dict[str, bytes] = {}
        seen: set[str] = set()
        for op, reply in _replies(entry.scenario, entry.trace):
            _write(writer, op.lower(profile_of(known.facts)), reply, order, kept, seen)
        writer.end(next(order), EndReason.ENDED, 0)
    return path


def _replies(scenario: Scenario, trace) -> Iterator[tuple[Op, Reply]]:
    for step, seen in zip(scenario.steps, trace.steps, strict=False):
        yield from zip(step.ops, seen.replies, strict=False)


def _write(writer, call, reply, order, kept, seen):
    at = Order(next(order), next(order))
    if isinstance(call, ArchPrctl):
        argument = call.argument.value if isinstance(call.argument, Immediate) else 0x1000
        writer.write(Permission(at, 100, 0, call.code, argument, reply.result))
    elif isinstance(call, Ioctl):
        _introduce(writer, call.on, seen)
        sent = _sent(call.argument, kept)
        if isinstance(call.argument, Output) and call.argument.capture:
            kept[call.argument.capture] = reply.output or b""
        argument = call.argument.value if isinstance(call.argument, Immediate) else 0x1000
        got = (
            writer.payload(reply.output)
            if reply.output and isinstance(call.argument, Output)
            else None
        )
        name = writer.payload(sent) if sent else None
        writer.write(
            Call(at, 100, 0, call.on, 7, call.number, argument, reply.result, sent=name, got=got)
        )
    elif isinstance(call, RunVcpu):
        _introduce(writer, call.on, seen)
        area = bytearray(KVM_RUN_HEAD.size)
        area[KVM_RUN_HEAD.offset("immediate_exit")] = call.immediate_exit
        writer.write(Run(at, 100, 0, call.on, 7, reply.result, sent=writer.payload(bytes(area))))


def _introduce(writer, name, seen):
    if name not in seen:
        seen.add(name)
        of = {"vm": "kvm", "vcpu0": "vm"}.get(name)
        if of:
            _introduce(writer, of, seen)
        number = 0 if name == "vcpu0" else None
        writer.write(ObjectLine(name, _OBJECTS[name], f"anon_inode:{name}", of, number))


def _sent(argument, kept):
    match argument:
        case Literal(content) | LiteralAtPageEnd(content):
            return content
        case Captured(name, patches):
            content = bytearray(kept[name])
            for offset, new in patches:
                content[offset : offset + len(new)] = new
            return bytes(content)
        case Output(_, head):
            return head
        case _:
            return b""
