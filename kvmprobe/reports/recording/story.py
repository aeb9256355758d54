"""Tells a recording call by call: what was set or read, and what changed since the last time."""

from __future__ import annotations

from collections import OrderedDict
from signal import Signals
from typing import TYPE_CHECKING, Any

from kvmprobe.abi import ioctls
from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.ioctls import COMMON_ERRNOS
from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.abi.tables import MSRS
from kvmprobe.recordings.lines import (
    Call,
    End,
    ObjectLine,
    Order,
    Permission,
    ProcessChange,
    ProcessLine,
    Run,
    Runs,
    Unread,
)
from kvmprobe.recordings.members import (
    is_image,
    members_of,
    run_members,
    structure_of,
)
from kvmprobe.reports.excerpt import printable
from kvmprobe.reports.values import fields_text, result_text, value_text
from kvmprobe.xstate.diff import differing_regions
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kvmprobe.abi.ioctls import IoctlSpec
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.recordings.lines import Line
    from kvmprobe.recordings.members import Members
    from kvmprobe.recordings.reader import RecordingReader
    from kvmprobe.xstate.layout import Layout

_MOST_SHOWN = 12
_MOST_REMEMBERED = 1024
_INDENT = " " * 10
_FILTERED = ": a seccomp filter forbade a system call"
_REQUESTS = frozenset({ArchPrctlCode.REQ_XCOMP_PERM, ArchPrctlCode.REQ_XCOMP_GUEST_PERM})


def story(recording: RecordingReader, layout: Layout) -> Iterator[list[str]]:
    """Return the lines of each entry, after those of the header.

    :param layout: of the host's XSAVE images, to name what changed in one
    """
    header = recording.header
    cpu = f"{header.cpu.family:#x}-{header.cpu.model:#x}-{header.cpu.stepping:#x}"
    tool = f"recorded by {header.tool} on Linux {header.kernel}, {header.cpu.vendor} {cpu}"
    command = f"command: {' '.join(header.command)}"
    yield [printable(f"{tool}, {header.began}"), printable(command)]
    teller = _Teller(layout)
    for entry in recording:
        yield teller.lines(entry)


class _Teller:
    """Remembers the last payload of each kind."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._last: OrderedDict[tuple[str, str], tuple[bytes | None, Members]] = OrderedDict()

    def lines(self, entry: Entry) -> list[str]:
        """Return an entry's lines."""
        match entry.line:
            case Call() as call:
                return self._call(entry, call)
            case Run() as run:
                return self._run(entry, run)
            case Permission() as permission:
                return _permission(permission)
            case line:
                return [_LINES[type(line)](line)]

    def _call(self, entry: Entry, call: Call) -> list[str]:
        spec = entry.spec
        name = spec.name if spec else _unnamed(call.request)
        argument, answer = _argument(spec, call), _answer(call.result, spec)
        lines = [f"{_place(call.order)}  {call.on}: {name}{argument}{answer}"]
        # Of a call that reads, what it was sent says little.
        member, content = ("sent", entry.sent) if entry.got is None else ("got", entry.got)
        if spec and content is not None:
            lines += [f"{_INDENT}{member}: {self._content(entry, spec, content)}"]
        for member, value in (("register", entry.sent_value), ("value", entry.got_value)):
            if value is not None:
                lines += [f"{_INDENT}{member}: {int.from_bytes(value, 'little'):#x}"]
        return lines + _missing(call.unread)

    def _run(self, entry: Entry, run: Run) -> list[str]:
        lines = [f"{_place(run.order)}  {run.on}: KVM_RUN{_answer(run.result, ioctls.RUN)}"]
        if entry.got is not None:
            lines += [f"{_INDENT}{fields_text(run_members(entry.got))}"]
        return lines + _missing(run.unread)

    def _content(self, entry: Entry, spec: IoctlSpec, content: bytes) -> str:
        """Return what a payload has; of one like an earlier one, what changed."""
        structure = structure_of(spec)
        key = entry.target.id if entry.target else "", structure
        before, known = self._last.pop(key, (None, {}))
        members = members_of(spec, content)
        size = f"{len(content)} bytes"
        # Lists of MSRs have parts of one state.
        later = known | members if structure == MSRS.head.name else members
        self._last[key] = content, later
        if len(self._last) > _MOST_REMEMBERED:
            self._last.popitem(last=False)
        if before == content:
            return f"{size}, as the last time"
        if before is None:
            return f"{size}: {_shown(members)}"
        changes = _changes(known, later)
        if is_image(spec) and len(before) == len(content):
            changes += self._regions(before, content, members)
        return f"{size}, since the last time: {_cut(changes) if changes else 'no value changed'}"

    def _regions(self, before: bytes, content: bytes, shown: Members) -> list[str]:
        regions = differing_regions(before, content, self._layout)
        return [f"{region.name} differs" for region in regions if region.name not in shown]


def _shown(members: Members) -> str:
    parts = [fields_text({name: value}) for name, value in members.items() if value]
    return _cut(parts) if parts else "all zero"


def _changes(before: Members, after: Members) -> list[str]:
    changed = [
        f"{name} {value_text(name, before[name])} -> {value_text(name, value)}"
        for name, value in after.items()
        if name in before and before[name] != value
    ]
    added = [fields_text({name: after[name]}) for name in after.keys() - before.keys()]
    gone = [f"without {name}" for name in before.keys() - after.keys()]
    return [*changed, *sorted(added), *sorted(gone)]


def _cut(parts: list[str]) -> str:
    more = len(parts) - _MOST_SHOWN
    return ", ".join(parts[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _place(order: Order) -> str:
    """Return where a call is; both ends if others came between."""
    whole = order.ended == order.began + 1
    text = str(order.ended) if whole else f"{order.began}..{order.ended}"
    return f"{text:>8}"


def _answer(result: int | None, spec: IoctlSpec | None) -> str:
    if result is None:
        return ": did not return"
    if result >= 0:
        return f" = {result}"
    meaning = (spec.errnos if spec else {}).get(-result) or COMMON_ERRNOS.get(-result, "")
    return f" = {result_text(result)}" + (f": {meaning}" if meaning else "")


def _argument(spec: IoctlSpec | None, call: Call) -> str:
    if spec is None or spec.argument:
        return ""
    if spec is ioctls.CHECK_EXTENSION and call.argument in set(Capability):
        return f"(KVM_CAP_{Capability(call.argument).name})"
    return f"({call.argument:#x})" if call.argument else ""


def _unnamed(request: int) -> str:
    return f"request {request:#x} (nr {request & 0xFF:#x}), which kvmprobe does not describe"


def _permission(call: Permission) -> list[str]:
    code = call.code
    name = ArchPrctlCode(code).name if code in set(ArchPrctlCode) else f"{code:#x}"
    argument = f"({names(1 << call.argument)})" if code in _REQUESTS and call.argument < 64 else ""
    line = f"{_place(call.order)}  arch_prctl ARCH_{name}{argument}{_answer(call.result, None)}"
    if call.bitmap is not None:
        line += f": {names(call.bitmap)}"
    return [line, *_missing({"bitmap": call.unread} if call.unread else None)]


def _process(line: ProcessLine) -> str:
    program = f" {printable(line.program)}" if line.program else ""
    status = line.status if line.status is not None else ""
    texts: Mapping[ProcessChange, str] = {
        ProcessChange.START: f"started{program} as process",
        ProcessChange.ATTACH: f"attached to{program}, process",
        ProcessChange.FORK: f"process {line.parent} forked process",
        ProcessChange.EXEC: f"process {line.parent} executed{program} and is process",
        ProcessChange.EXIT: f"exit status {status} of process",
        ProcessChange.KILLED: f"{_signal(line.status or 0)} killed process",
        ProcessChange.DETACH: "let go of process",
    }
    text = f"{line.order:>8}  {texts[line.event]} {line.process} (pid {line.pid})"
    return text + (_FILTERED if _is_filtered(line) else "")


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _is_filtered(line: ProcessLine) -> bool:
    return line.event is ProcessChange.KILLED and line.status == Signals.SIGSYS


def _object(line: ObjectLine) -> str:
    of = f" of {line.of}" if line.of else ""
    number = f", id {line.number}" if line.number is not None else ""
    return f"{'':8}  {line.id}: {printable(line.link) or line.kind.value}{of}{number}"


def _runs(line: Runs) -> str:
    if line.count is None:
        return f"{line.order:>8}  {line.on}: KVM_RUNs, not counted: {printable(line.why or '')}"
    return f"{line.order:>8}  {line.on}: {line.count} more KVM_RUNs"


def _end(line: End) -> str:
    status = f", exit status {line.status}" if line.status is not None else ""
    return f"{line.order:>8}  end: {line.reason.value}{status}; {line.calls} calls"


def _missing(unread: Mapping[str, str] | None) -> list[str]:
    return [
        f"{_INDENT}{name} is not complete: {printable(why)}" for name, why in (unread or {}).items()
    ]


def _unread(line: Unread) -> str:
    return f"{line.order:>8}  not recorded: {printable(line.what)}: {printable(line.why)}"


_LINES: Mapping[Callable[..., Line], Callable[[Any], str]] = {
    ProcessLine: _process,
    ObjectLine: _object,
    Runs: _runs,
    Unread: _unread,
    End: _end,
}
