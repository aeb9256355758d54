"""What the driver sends to the executor, whose ``wire.c`` reads it, and the bytes in what it sends.

A line consists of words: numbers in hexadecimal, and bytes as ``SIZE/FILL,OFFSET:BASE64,...``: a
byte that fills them, and what differs from it, since most of an XSAVE image is zero.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.abi import payload
from kvmprobe.abi.executor import CallKind, KickKind, TaskRelation
from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.calls import (
    CANARY,
    ArchPrctl,
    Captured,
    Close,
    DuringRun,
    GoOnInChild,
    Immediate,
    Ioctl,
    Kick,
    LimitDescriptors,
    Literal,
    LiteralAtPageEnd,
    MapMemory,
    MapPayload,
    OpenKvm,
    Output,
    OutputAtPageEnd,
    OutputBehind,
    Relation,
    RunGuest,
    RunVcpu,
    SetAltStack,
    SharePayload,
    SleepingLiteral,
    Spawn,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.scenarios.calls import Argument, Call

_PAGE = 4096
_U64 = (1 << 64) - 1
# More than any structure that a call fills, bytes.
_LARGEST = 1 << 24
_NOTHING = "-"
_RUN_OF = {
    fill: re.compile(rb"[^%c](?:.{0,15}[^%c])*" % (fill, fill), re.DOTALL) for fill in (0, CANARY)
}
_RELATIONS = {
    Relation.THREAD: TaskRelation.THREAD,
    Relation.FORK: TaskRelation.FORK,
    Relation.SHARED_MM: TaskRelation.SHARED_MM,
    Relation.EXEC: TaskRelation.EXEC,
}
_KICKS = {
    Kick.BY_SIGNAL: KickKind.BY_SIGNAL,
    Kick.WITH_IMMEDIATE_EXIT: KickKind.WITH_IMMEDIATE_EXIT,
}


class Definition(NamedTuple):
    """A call as the executor's ``struct kvmprobe_call``.

    :ivar words: its members, in the order in which ``read_call`` reads them
    :ivar size: what the executor needs to keep it, bytes
    """

    words: str
    size: int


@dataclass(slots=True)
class _Members:
    """Members of ``struct kvmprobe_call``."""

    kind: CallKind
    request: int = 0
    argument: int = 0
    address: int = 0
    at_page_end: bool = False
    on: str = ""
    binds: str = ""
    capture: str = ""
    memory: str = ""
    by: str = ""
    input: bytes | None = None
    blank: bytes | None = None
    fill: int = 0
    pointer: int = 0
    pointee: int = 0
    patches: Sequence[tuple[int, bytes]] = field(default=())

    def definition(self) -> Definition:
        names = (self.on, self.binds, self.capture, self.memory, self.by)
        words = [
            *(f"{number & _U64:x}" for number in (self.kind, self.request, self.argument)),
            *(f"{number:x}" for number in (self.address, self.at_page_end)),
            *(bytes_to_wire(name.encode()) if name else _NOTHING for name in names),
            _NOTHING if self.input is None else bytes_to_wire(self.input),
            _NOTHING if self.blank is None else bytes_to_wire(self.blank, self.fill),
            *(f"{number:x}" for number in (self.pointer, self.pointee, len(self.patches))),
            *(f"{offset:x} {bytes_to_wire(content)}" for offset, content in self.patches),
        ]
        kept = (*(name.encode() for name in names), self.input or b"", self.blank or b"")
        size = sum(map(_kept, (*kept, *(content for _, content in self.patches))))
        return Definition(" ".join(words), size + 512)


def bytes_to_wire(content: bytes, fill: int = 0) -> str:
    """Encode bytes as one word."""
    runs = [
        f",{run.start():x}:{b64encode(run.group()).decode()}"
        for run in _RUN_OF[fill].finditer(content)
    ]
    return f"{len(content):x}/{fill:x}{''.join(runs)}"


def bytes_from_wire(word: str) -> bytes:
    """Decode bytes that the executor sends, which are filled with zeros.

    :raises ValueError: the word does not have this form
    """
    length, *runs = word.split(",")
    size = int(length.removesuffix("/0"), 16)
    if size > _LARGEST:
        raise ValueError(f"{size} bytes from the executor; a call has at most {_LARGEST}")
    content = bytearray(size)
    for run in runs:
        offset, _, text = run.partition(":")
        start, differing = int(offset, 16), b64decode(text)
        content[start : start + len(differing)] = differing
    return bytes(content)


def define(call: Call) -> Definition:
    """Encode a call.

    :raises ScenarioError: the call cannot take such an argument, or has too much data
    """
    members = _members(call)
    members.on = getattr(call, "on", "")
    members.by = getattr(call, "by", "")
    return members.definition()


def _members(call: Call) -> _Members:
    match call:
        case Ioctl():
            return _ioctl(call)
        case ArchPrctl(code, argument):
            members = _Members(CallKind.ARCH_PRCTL, request=code)
            return _with_integer_or_output(members, argument, CallKind.ARCH_PRCTL)
        case MapMemory() | MapPayload() | SharePayload():
            return _of_memory(call)
        case RunVcpu() | RunGuest() | DuringRun():
            return _running(call)
        case _:
            return _of_process(call)


def _running(call: RunVcpu | RunGuest | DuringRun) -> _Members:
    match call:
        case RunVcpu(_, immediate_exit, patches, size):
            blank = bytes(size)
            return _Members(CallKind.RUN, argument=immediate_exit, blank=blank, patches=patches)
        case RunGuest():
            return _run_guest(call)
        case DuringRun(ioctl, memory, kick):
            members = _ioctl(ioctl)
            members.memory, members.address = memory, _KICKS[kick]
            return members


def _of_memory(call: MapMemory | MapPayload | SharePayload) -> _Members:
    match call:
        case MapMemory(_, slot, address, content):
            return _Members(CallKind.MAP_MEMORY, request=slot, address=address, input=content)
        case MapPayload(_, memory):
            return _Members(CallKind.MAP_PAYLOAD, memory=memory)
        case SharePayload(_, memory):
            return _Members(CallKind.SHARE_PAYLOAD, memory=memory)


def _of_process(
    call: OpenKvm | Close | SetAltStack | LimitDescriptors | Spawn | GoOnInChild,
) -> _Members:
    match call:
        case OpenKvm(binds):
            return _Members(CallKind.OPEN, binds=binds)
        case Close():
            return _Members(CallKind.CLOSE)
        case SetAltStack(size):
            return _Members(CallKind.ALT_STACK, argument=size)
        case LimitDescriptors():
            return _Members(CallKind.LIMIT)
        case Spawn(binds, relation):
            return _Members(CallKind.SPAWN, binds=binds, argument=_RELATIONS[relation])
        case GoOnInChild():
            return _Members(CallKind.GO_ON_IN_CHILD)


def _ioctl(call: Ioctl) -> _Members:
    members = _Members(CallKind.IOCTL, request=call.number, binds=call.binds)
    match call.argument:
        case Literal(content):
            members.input = content
        case LiteralAtPageEnd(content):
            members.input = content
            members.at_page_end = True
        case SleepingLiteral(content):
            members.kind = CallKind.SLEEPING
            members.input = content.ljust(-(-max(len(content), 1) // _PAGE) * _PAGE, b"\0")
        case Captured(name, patches):
            members.kind = CallKind.CAPTURED
            members.capture = name
            members.patches = patches
        case other:
            return _with_integer_or_output(members, other, CallKind.OUTPUT)
    return members


def _with_integer_or_output(
    members: _Members, argument: Argument, kind_with_output: CallKind
) -> _Members:
    match argument:
        case Immediate(value):
            members.argument = value
            return members
        case Output(size, head, capture):
            members.capture = capture
            members.blank, members.fill = _blank(size, head), CANARY
        case OutputAtPageEnd(size, head):
            members.blank, members.fill = _blank(size, head), CANARY
            members.at_page_end = True
        case OutputBehind(head, pointer_offset, size, content):
            members.blank, members.fill = _blank(len(head) + size, head + content), CANARY
            members.pointer, members.pointee = pointer_offset, len(head)
        case other:
            raise ScenarioError(f"the call cannot take this argument: {other!r:.100}")
    members.kind = kind_with_output
    return members


def _run_guest(call: RunGuest) -> _Members:
    command = call.command.ljust(payload.COMMAND_SIZE, b"\0")
    if max(len(command) - payload.COMMAND_SIZE, call.data_size) > payload.DATA_SIZE:
        raise ScenarioError(
            f"the guest command has too much data; the limit is {payload.DATA_SIZE} bytes"
        )
    return _Members(
        CallKind.RUN_GUEST,
        memory=call.memory,
        input=command,
        blank=bytes(payload.RESULT_SIZE + call.data_size),
    )


def _blank(size: int, head: bytes) -> bytes:
    return head.ljust(size, bytes([CANARY]))


def _kept(content: bytes) -> int:
    return len(content) + 32
