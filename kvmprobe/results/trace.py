"""What a worker reported of one scenario, decoded; the judge's input."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmprobe.results.hang import Hang


class End(Enum):
    """How the scenario's process ended."""

    DONE = "done"
    GATED = "held"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Reply:
    """One call's result (or -errno) and the whole output buffer, if it has one."""

    result: int
    output: bytes | None = None


@dataclass(frozen=True, slots=True)
class TraceStep:
    """Replies in the order of the calls, and kernel messages of the meantime."""

    replies: tuple[Reply, ...]
    kernel_log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """Completed steps, and how it ended; ``end_note`` is the signal, the traceback, the deadline.

    :ivar taint: bits of the kernel's taint that this scenario set
    :ivar hang: what its tasks did when its time was up; its step is filled in by the caller
    :ivar last_log: of one that was killed, what the kernel logged since the last completed step;
        that step has it, too
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
