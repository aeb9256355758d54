"""The recorder's events, from its pipe (:mod:`abi.recorder`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi.recorder import EVENT, NOT_RETURNED, PART, TraceEvent, TracePart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of an event.

    :ivar wanted: number of bytes that the call moves
    :ivar error: errno of reading them, or an ``AreaMissing``; 0 if there was none
    """

    content: bytes
    wanted: int
    error: int


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``began`` and ``ended`` are its positions in the order.

    :ivar result: None if the call did not return
    """

    kind: TraceEvent
    began: int
    ended: int
    tid: int
    pid: int
    fd: int
    number: int
    argument: int
    result: int | None
    parts: Mapping[TracePart, Part]


def read_events(fd: int) -> Iterator[Event]:
    """Return events until the recorder has closed the pipe."""
    pending = b""
    while chunk := os.read(fd, _CHUNK):
        pending += chunk
        start = 0
        while len(pending) - start >= EVENT.size:
            size = int.from_bytes(pending[start : start + 4], "little")
            if len(pending) - start < size:
                break
            yield _event(pending[start : start + size])
            start += size
        pending = pending[start:]


def _event(content: bytes) -> Event:
    _, kind, began, ended, tid, pid, fd, number, argument, result = EVENT.unpack_from(content)
    parts: dict[TracePart, Part] = {}
    place = EVENT.size
    while place < len(content):
        role, size, wanted, error = PART.unpack_from(content, place)
        place += PART.size
        parts[TracePart(role)] = Part(content[place : place + size], wanted, error)
        place += size
    returned = None if result == NOT_RETURNED else result
    return Event(TraceEvent(kind), began, ended, tid, pid, fd, number, argument, returned, parts)
