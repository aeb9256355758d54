"""How long an emulator may be silent: by its CPU time, of which a busy machine gives it little.

Silence in wall time says nothing about the kernel under test: the emulator may be stopped, or the
machine slow.  A kernel that hangs makes its emulator work all the time, also when it is halted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from kvmprobe.lab.machine_events import EndReason

if TYPE_CHECKING:
    from kvmprobe.lab.emulator_process import EmulatorProcess

# Parts of the time: until the first look, until each other one, and of the CPU time that a hang
# takes.  What the emulator did before the first look is not known.
_FIRST, _NEXT, _ENOUGH = 0.1, 0.9, 0.8
# It did not run if it had no CPU time at all in so many looks; in one if it is stopped.
_LOOKS = 3
_STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


@dataclass(frozen=True, slots=True)
class Activity:
    """What a process did: its CPU time in seconds, and whether it is stopped."""

    cpu: float
    stopped: bool

    @classmethod
    def of(cls, process: EmulatorProcess) -> Activity:
        """Return what an emulator did so far; nothing if it has ended."""
        try:
            found = psutil.Process(process.pid)
            times = found.cpu_times()
            return cls(times.user + times.system, found.status() in _STOPPED)
        except psutil.NoSuchProcess:
            return cls(0.0, stopped=False)


class Patience:
    """Looks at a silent emulator now and then."""

    def __init__(self, process: EmulatorProcess, seconds: float) -> None:
        """Begin to wait.

        :param seconds: of CPU time without output that are a hang
        """
        self._process = process
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Begin again: it is not silent."""
        self.look_at = time.monotonic() + self._seconds * _FIRST
        """Monotonic time of the next look."""
        self._began: float | None = None
        self._before = 0.0
        self._idle = 0

    def look(self) -> EndReason | None:
        """Return HANG or STALLED if the patience is over; None if it is to be looked at again."""
        now = Activity.of(self._process)
        if self._began is None:
            self._began = now.cpu
        else:
            self._idle = 0 if now.cpu > self._before else self._idle + 1
            if self._idle and (now.stopped or self._idle == _LOOKS):
                return EndReason.STALLED
            if now.cpu - self._began >= self._seconds * _ENOUGH:
                return EndReason.HANG
        self._before = now.cpu
        self.look_at = time.monotonic() + self._seconds * _NEXT
        return None
