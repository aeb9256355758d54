"""What the recorder (``kvmprobe/native/tracing``) writes and reads.  Layer: abi, pure.

An event is a head and parts.  A part is a head and bytes.
"""

from __future__ import annotations

import struct
from enum import IntEnum

NOT_RETURNED = -(1 << 63)
"""The result of a call whose thread ended within it."""
MOST_PAYLOAD = 1 << 16
"""Bytes of a payload; more are not recorded."""
EVENT = struct.Struct("<IIQQiiiIQq")
"""Size of the whole event, kind, began, ended, tid, pid, fd, number, argument, result."""
PART = struct.Struct("<IIIi")
"""Role, bytes that follow, bytes that the call moves, errno of reading them."""


class TraceEvent(IntEnum):
    """The kinds of events; ``number`` and ``argument`` of each."""

    TRACE_STARTED = 1
    TRACE_ATTACHED = 2
    TRACE_FORKED = 3
    """pid is the new process, ``number`` its parent."""
    TRACE_EXECUTED = 4
    TRACE_EXITED = 5
    """``number`` is the exit status."""
    TRACE_KILLED = 6
    """``number`` is the signal."""
    TRACE_DETACHED = 7
    TRACE_CALLED = 8
    """``number`` is the request."""
    TRACE_PERMISSION = 9
    """``number`` is the code."""
    TRACE_RAN = 10
    TRACE_RUNS = 11
    """``argument`` is the number of KVM_RUNs, ``number`` 1 if there may have been more."""
    TRACE_UNREAD = 12
    """``number`` is a :class:`TraceGap`, ``argument`` an errno."""
    TRACE_FAILED = 13
    """Nothing was recorded: ``number`` is a :class:`TraceFailure`, ``argument`` an errno."""
    TRACE_DONE = 14
    """The last event: ``number`` is the exit status of the command."""


class TracePart(IntEnum):
    """What the bytes of a part are."""

    TRACE_SENT = 1
    TRACE_GOT = 2
    TRACE_SENT_VALUE = 3
    TRACE_GOT_VALUE = 4
    TRACE_LINK = 5
    """What the descriptor refers to."""
    TRACE_PROGRAM = 6


class TraceGap(IntEnum):
    """What the recorder cannot record."""

    TRACE_FOREIGN_ABI = 1
    """A call of a 32-bit or x32 program."""
    TRACE_NO_ATTACH = 2
    """A thread could not be attached to."""


class TraceFailure(IntEnum):
    """The step that failed."""

    TRACE_NO_FILTER = 1
    TRACE_NO_EXEC = 2
    TRACE_NO_SEIZE = 3
    TRACE_NO_SYSCALL_INFO = 4
    TRACE_NO_PROCESS = 5


class AreaMissing(IntEnum):
    """Why the run area was not read, as the ``error`` of its part; beyond all errnos."""

    TRACE_NOT_MAPPED = 10001
    TRACE_MAPPED_TWICE = 10002
