"""The descriptors between this process and one emulated machine: four pipes and a socket.

The patched emulator documents them (``iodev/kvmprobe_channel.h`` in ``patches/10-channel.patch``).
"""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmprobe.lab.machine_events import EndReason
    from kvmprobe.lab.patience import Patience

_PIPE_BYTES = 1 << 20
_MESSAGE_BYTES = 64
_SHORTEST_SECONDS = 0.01


class Ports:
    """Both ends of all connections.  The machine's ends are open until :meth:`hand_over`.

    :ivar channel_in: non-blocking descriptor for lines to the guest
    :ivar channel_out: non-blocking descriptor for lines from the guest; EOF when the machine ends
    :ivar console: non-blocking descriptor of the guest's first serial port
    :ivar log: non-blocking descriptor of the emulator's own messages
    :ivar control: socket on which the machine is forked, and tells how it ended
    """

    def __init__(self) -> None:
        self._files: list[int] = []
        self._machine_ends: list[int] = []
        try:
            in_read, self.channel_in = self._pipe()
            self.channel_out, out_write = self._pipe()
            self.console, console_write = self._pipe()
            self.log, log_write = self._pipe()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except BaseException:
            self._close_files()
            raise
        self.control = ours
        control = theirs.detach()
        self._files.append(control)
        self._machine_ends = [in_read, out_write, console_write, log_write, control]
        for descriptor in (self.channel_in, self.channel_out, self.console, self.log):
            os.set_blocking(descriptor, False)

    @property
    def machine_ends(self) -> tuple[int, ...]:
        """The machine's ends: channel in, channel out, console, log, control."""
        return tuple(self._machine_ends)

    def hand_over(self) -> None:
        """Close the machine's ends here: the machine has them."""
        for descriptor in self._machine_ends:
            self._files.remove(descriptor)
            os.close(descriptor)
        self._machine_ends = []

    def end_status(self) -> int | None:
        """Return the status with which the machine ended by itself; None if it was killed.

        Call it after EOF on ``channel_out``.
        """
        self.control.settimeout(0)
        try:
            while message := self.control.recv(_MESSAGE_BYTES):
                word, _, status = message.decode("ascii", errors="replace").partition(" ")
                if word == "end" and status.isdecimal():
                    return int(status)
        except (BlockingIOError, ConnectionError):
            pass
        return None

    def close(self) -> None:
        """Close all descriptors."""
        self._close_files()
        self.control.close()

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe2(os.O_CLOEXEC)
        self._files += ends
        return ends

    def _close_files(self) -> None:
        while self._files:
            os.close(self._files.pop())


class ForkFailed(OSError):
    """The emulator could not fork: EAGAIN (limit of processes), ENOMEM."""


class TemplateLost(Exception):
    """The machine that should be forked has ended, or does not answer.

    :ivar silent: why it does not answer; None if it has ended
    """

    def __init__(self, message: str, silent: EndReason | None = None) -> None:
        super().__init__(message)
        self.silent = silent


def request_fork(control: socket.socket, ports: Ports, patience: Patience) -> tuple[int, int]:
    """Fork a machine that waits for input; the child gets the machine's ends of ``ports``.

    :param control: the control socket of the machine to fork
    :param patience: how long to wait for the answer
    :returns: process id and pidfd of the child
    :raises ForkFailed: with the emulator's errno
    :raises TemplateLost: it has ended or does not wait for input
    """
    try:
        socket.send_fds(control, [b"fork"], ports.machine_ends)
        message, received = _answer(control, patience)
    except OSError as error:
        if error.errno in {errno.EPIPE, errno.ECONNRESET}:
            raise TemplateLost("it has ended") from error
        raise
    word, _, number = message.decode("ascii", errors="replace").partition(" ")
    if word == "forked" and received and number.isdecimal():
        return int(number), received[0]
    for descriptor in received:
        os.close(descriptor)
    if word == "error" and number.isdecimal():
        raise ForkFailed(int(number), os.strerror(int(number)))
    raise TemplateLost("it has ended")


def _answer(control: socket.socket, patience: Patience) -> tuple[bytes, list[int]]:
    while True:
        control.settimeout(max(patience.look_at - time.monotonic(), _SHORTEST_SECONDS))
        try:
            message, received, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 1)
        except TimeoutError:
            if over := patience.look():
                raise TemplateLost(f"it does not answer: {over.value}", over) from None
        else:
            return message, received


def read_available(descriptor: int) -> bytes | None:
    """Read up to 1 MiB from a non-blocking pipe; b"" if it is empty, None at EOF."""
    try:
        return os.read(descriptor, _PIPE_BYTES) or None
    except BlockingIOError:
        return b""
