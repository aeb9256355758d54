"""Writes the recorder's events as the lines of a recording."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.abi.recorder import AreaMissing, TraceEvent, TraceGap, TracePart
from kvmprobe.errors import errno_name
from kvmprobe.recordings.lines import (
    Call,
    EndReason,
    Order,
    Permission,
    ProcessChange,
    ProcessLine,
    Run,
    Runs,
    Unread,
)
from kvmprobe.tracer.identities import Identities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.recordings.writer import RecordingWriter
    from kvmprobe.tracer.events import Event, Part

_PAYLOADS = {
    TracePart.TRACE_SENT: "sent",
    TracePart.TRACE_GOT: "got",
    TracePart.TRACE_SENT_VALUE: "sent_value",
    TracePart.TRACE_GOT_VALUE: "got_value",
}
_AREA_MISSING = {
    AreaMissing.TRACE_NOT_MAPPED: "the run area is not mapped in this process",
    AreaMissing.TRACE_MAPPED_TWICE: "several vCPUs with this id are mapped: which one is unknown",
}
_GAPS = {
    TraceGap.TRACE_FOREIGN_ABI: (
        "KVM calls of a 32-bit or x32 program",
        "kvmprobe records 64-bit programs only; the calls were made",
    ),
    TraceGap.TRACE_NO_ATTACH: ("a thread", "it could not be attached to"),
}
_UNCOUNTED = "the thread ran without stops, which would slow it down"
_CHANGES = {
    TraceEvent.TRACE_EXITED: ProcessChange.EXIT,
    TraceEvent.TRACE_KILLED: ProcessChange.KILLED,
    TraceEvent.TRACE_DETACHED: ProcessChange.DETACH,
}


class Transcription:
    """A recording that grows by one event at a time."""

    def __init__(self, writer: RecordingWriter) -> None:
        self._writer = writer
        self._identities = Identities(writer.write)
        self._numbers: dict[int, int] = {}
        self._processes = 0
        self._gaps: set[tuple[int, int]] = set()
        self._incomplete = 0
        self._order = -1
        self.status: int | None = None
        """Exit status of the command; None before the last event."""
        self._writers: Mapping[TraceEvent, Callable[[Event], None]] = {
            TraceEvent.TRACE_STARTED: self._born,
            TraceEvent.TRACE_ATTACHED: self._born,
            TraceEvent.TRACE_FORKED: self._forked,
            TraceEvent.TRACE_EXECUTED: self._executed,
            TraceEvent.TRACE_EXITED: self._gone,
            TraceEvent.TRACE_KILLED: self._gone,
            TraceEvent.TRACE_DETACHED: self._gone,
            TraceEvent.TRACE_CALLED: self._called,
            TraceEvent.TRACE_PERMISSION: self._permission,
            TraceEvent.TRACE_RAN: self._ran,
            TraceEvent.TRACE_RUNS: self._counted,
            TraceEvent.TRACE_UNREAD: self._unread,
            TraceEvent.TRACE_DONE: self._done,
        }

    def add(self, event: Event) -> None:
        """Write an event."""
        self._order = event.ended
        self._writers[event.kind](event)

    def cut(self, why: str) -> None:
        """Write the end of a recording whose recorder has ended before the program."""
        self._order += 1
        for process in sorted(self._numbers.values()):
            self._writer.write(Unread(self._order, process, "all later calls", why))
            self._order += 1
        self._writer.end(self._order, EndReason.LOST)

    @property
    def summary(self) -> str:
        """What was recorded, for the user."""
        found = [f"{self._writer.calls} calls"]
        if self._incomplete:
            found.append(f"of {self._incomplete} the payload could not be read whole: see `unread`")
        if self._gaps:
            found.append("some calls are missing: see its lines of type unread")
        return "; ".join(found)

    def _process(self, pid: int) -> int:
        """Return the number of a process."""
        if pid not in self._numbers:
            self._number(pid)
        return self._numbers[pid]

    def _number(self, pid: int) -> int:
        self._numbers[pid] = self._processes
        self._processes += 1
        return self._numbers[pid]

    def _born(self, event: Event) -> None:
        started = event.kind is TraceEvent.TRACE_STARTED
        change = ProcessChange.START if started else ProcessChange.ATTACH
        self._change(event, change, self._number(event.pid))

    def _forked(self, event: Event) -> None:
        parent = self._process(event.number)
        self._identities.inherit(event.number, event.pid)
        self._change(event, ProcessChange.FORK, self._number(event.pid), parent)

    def _executed(self, event: Event) -> None:
        parent = self._process(event.pid)
        self._identities.forget(event.pid)
        self._change(event, ProcessChange.EXEC, self._number(event.pid), parent)

    def _change(
        self, event: Event, change: ProcessChange, process: int, parent: int | None = None
    ) -> None:
        program = event.parts.get(TracePart.TRACE_PROGRAM)
        path = program.content.decode(errors="replace") if program else None
        line = ProcessLine(event.ended, change, process, event.pid, parent, path)
        self._writer.write(line)

    def _gone(self, event: Event) -> None:
        process = self._process(event.pid)
        change = _CHANGES[event.kind]
        status = None if change is ProcessChange.DETACH else event.number
        self._writer.write(ProcessLine(event.ended, change, process, event.pid, status=status))
        self._identities.forget(event.pid)
        del self._numbers[event.pid]

    def _called(self, event: Event) -> None:
        process, on = self._process(event.pid), self._object(event)
        names, unread = self._payloads(event)
        self._writer.write(
            Call(
                Order(event.began, event.ended),
                event.tid,
                process,
                on,
                event.fd,
                event.number,
                event.argument,
                event.result,
                **names,
                unread=unread,
            )
        )
        if event.result is not None and event.result >= 0:
            if event.number == ioctls.CREATE_VM.number:
                self._identities.made_vm(event.pid, event.result, on)
            elif event.number == ioctls.CREATE_VCPU.number:
                number = event.argument & 0xFFFF_FFFF
                self._identities.made_vcpu(event.pid, event.result, on, number)

    def _permission(self, event: Event) -> None:
        got = event.parts.get(TracePart.TRACE_GOT)
        whole = got is not None and len(got.content) == got.wanted
        self._writer.write(
            Permission(
                Order(event.began, event.ended),
                event.tid,
                self._process(event.pid),
                ArchPrctlCode(event.number),
                event.argument,
                event.result,
                struct.unpack("<Q", got.content)[0] if got and whole else None,
                _reason(got) if got and not whole else None,
            )
        )

    def _ran(self, event: Event) -> None:
        process, on = self._process(event.pid), self._object(event)
        names, unread = self._payloads(event)
        order = Order(event.began, event.ended)
        run = Run(order, event.tid, process, on, event.fd, event.result, **names, unread=unread)
        self._writer.write(run)

    def _counted(self, event: Event) -> None:
        on = self._identities.of(event.pid, event.fd, "")
        uncounted = bool(event.number)
        self._writer.write(
            Runs(
                event.ended,
                on,
                None if uncounted else event.argument,
                _UNCOUNTED if uncounted else None,
            )
        )

    def _unread(self, event: Event) -> None:
        key = event.pid, event.number
        if key not in self._gaps:
            self._gaps.add(key)
            what, why = _GAPS[TraceGap(event.number)]
            if event.argument:
                why = f"{why}: {errno_name(event.argument)}"
            self._writer.write(Unread(event.ended, self._process(event.pid), what, why))

    def _done(self, event: Event) -> None:
        self.status = event.number
        if event.argument:
            self._writer.end(event.ended, EndReason.DETACHED)
        else:
            self._writer.end(event.ended, EndReason.ENDED, event.number)

    def _object(self, event: Event) -> str:
        link = event.parts[TracePart.TRACE_LINK].content.decode(errors="replace")
        return self._identities.of(event.pid, event.fd, link)

    def _payloads(self, event: Event) -> tuple[dict[str, str], dict[str, str] | None]:
        """Write the payloads of an event; returns their names, and why parts are missing."""
        names: dict[str, str] = {}
        unread: dict[str, str] = {}
        for role, member in _PAYLOADS.items():
            part = event.parts.get(role)
            if part is None:
                continue
            if part.content:
                names[member] = self._writer.payload(part.content)
            if len(part.content) < part.wanted:
                unread[member] = _reason(part)
        self._incomplete += bool(unread)
        return names, unread or None


def _reason(part: Part) -> str:
    """Return why a part is shorter than what the call moves."""
    if part.error in set(AreaMissing):
        return _AREA_MISSING[AreaMissing(part.error)]
    what = f"{len(part.content)} of {part.wanted} bytes were read"
    if part.error:
        return f"{what}: {errno_name(part.error)}"
    return f"{what}: a payload has no more"
