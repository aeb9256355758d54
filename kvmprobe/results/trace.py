"""The trace of one scenario: what the worker reported, decoded.  The judge's input."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmprobe.results.hang import Hang


class End(Enum):
    """How the scenario's process ended; workers and transcripts use the values."""

    DONE = "done"
    GATED = "held"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class RegisterChange:
    """Bytes of a task's FPU registers that changed during a call: the first that differ.

    :ivar offset: of the first byte, in a standard-format XSAVE image; PKRU has its place there
    :ivar expected: the bytes before the call
    :ivar observed: the bytes after it
    """

    offset: int
    expected: bytes
    observed: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """One call's result (or -errno) and the whole output buffer, if it has one.

    :ivar changes: of the calling thread's registers, if the call was made with live registers
    :ivar other_changes: of the registers of the task that competes, if there is one
    """

    result: int
    output: bytes | None = None
    changes: tuple[RegisterChange, ...] = ()
    other_changes: tuple[RegisterChange, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceStep:
    """The replies, in the order of the calls, and the kernel messages during the step.

    :ivar rounds: how often the task that competes ran during the calls, if there is one
    """

    replies: tuple[Reply, ...]
    kernel_log: tuple[str, ...] = ()
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """The completed steps, and how the scenario ended.

    :ivar end_note: the signal, the traceback or the deadline
    :ivar taint: bits of the kernel's taint that this scenario set
    :ivar hang: what its tasks were doing at the deadline; the caller sets the step
    :ivar last_log: if it was killed, the kernel's log since the last completed step, which that
        step also has
    :ivar blocks: the kernel's basic blocks that it reached, a bit for each that was watched
    """

    steps: tuple[TraceStep, ...] = ()
    end: End = End.DONE
    end_note: str = ""
    seconds: float = 0.0
    taint: int = field(default=0)
    hang: Hang | None = None
    last_log: tuple[str, ...] = ()
    blocks: bytes | None = None
