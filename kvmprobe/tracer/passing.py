"""Signals that kvmprobe gets while it records a program."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The terminal sends SIGINT and SIGHUP to the command as well.
TO_COMMAND = (signal.SIGTERM,)


class Receiver:
    """The process that gets SIGTERM for a signal that would end kvmprobe."""

    def __init__(self, passed: Collection[int]) -> None:
        """Pass these signals on; take no notice of others."""
        self._passed = passed
        self._pid = 0
        self._pending = False

    def begin(self, pid: int) -> None:
        """Pass signals to this process from now on, and one that came before."""
        self._pid = pid
        if self._pending:
            self._send()

    def take(self, number: int) -> None:
        """Pass a signal on, or keep it until there is a process."""
        if number not in self._passed:
            return
        if self._pid:
            self._send()
        else:
            self._pending = True

    def _send(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self._pid, signal.SIGTERM)


@contextlib.contextmanager
def passing(receiver: Receiver) -> Iterator[None]:
    """Pass signals on for a while; what is ignored stays ignored."""

    def take(number: int, _frame: FrameType | None) -> None:
        receiver.take(number)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, take)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
