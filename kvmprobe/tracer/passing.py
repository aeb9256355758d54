"""Signals that kvmprobe gets while it records a program."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Receiver:
    """Who gets a signal that would end kvmprobe; 0 is nobody.

    :ivar command: the command that was started: as if it had been started without kvmprobe.  The
        terminal sends SIGINT and SIGHUP to it as well, so SIGTERM alone is passed on
    :ivar recorder: the recorder that is attached to a process: SIGTERM has it let go of that
    """

    command: int = 0
    recorder: int = 0

    def take(self, number: int) -> None:
        """Pass a signal on."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.recorder:
                os.kill(self.recorder, signal.SIGTERM)
            elif self.command and number == signal.SIGTERM:
                os.kill(self.command, number)


@contextlib.contextmanager
def passing(receiver: Receiver) -> Iterator[Receiver]:
    """Pass signals on for a while; what is ignored stays ignored."""

    def take(number: int, _frame: FrameType | None) -> None:
        receiver.take(number)

    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, take)
    try:
        yield receiver
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
