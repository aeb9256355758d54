"""The executor's zygote (``kvmprobe/native/zygote.c``) as a child of the worker."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from kvmprobe.errors import WorkerError
from kvmprobe.native import PROGRAM

if TYPE_CHECKING:
    from kvmprobe.host.kernel_log import KernelLog

_LONGEST_LINE = 4096
_TUNABLES = "GLIBC_TUNABLES"
# The kernel writes to a thread's rseq area when it was preempted; a thread whose PKRU denies key 0
# would be killed.
_NO_RSEQ = "glibc.pthread.rseq=0"


class Zygote:
    """Serves the driver by itself; the worker answers what it passes on."""

    def __init__(self, device: str, port: int, log: KernelLog) -> None:
        """Start it.

        :param port: the emulator's I/O port to the driver; 0 for standard streams
        :raises WorkerError: the program is missing or cannot be executed
        """
        self._lines, to_worker = os.pipe()
        from_worker, self._answers = os.pipe()
        inherited = [fd for fd in (log.fd, log.taint_fd, to_worker, from_worker) if fd >= 0]
        for descriptor in inherited:
            os.set_inheritable(descriptor, True)  # noqa: FBT003
        numbers = (port, log.fd, log.taint_fd, to_worker, from_worker, os.getpid())
        command = [str(PROGRAM), device, *map(str, numbers)]
        try:
            tunables = ":".join(filter(None, (os.environ.get(_TUNABLES), _NO_RSEQ)))
            environment = {**os.environ, _TUNABLES: tunables}
            self.pid = os.posix_spawn(PROGRAM, command, environment)
        except OSError as error:
            raise WorkerError(f"cannot execute {PROGRAM}: {error.strerror}") from error
        os.close(to_worker)
        os.close(from_worker)
        self._pending = b""

    def next_request(self) -> list[str] | None:
        """Return the words of the next line that it passes on; None if it has served the driver.

        :raises WorkerError: it has died
        """
        while b"\n" not in self._pending:
            received = os.read(self._lines, _LONGEST_LINE)
            if not received:
                status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
                if status == 0:
                    return None
                raise WorkerError(
                    f"the process that forks scenarios has died: {_status_text(status)}"
                )
            self._pending += received
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace").split()

    def writes_within(self, seconds: float) -> bool:
        """Return True if it writes a line within this time."""
        if self._pending:
            return True
        poll = select.poll()
        poll.register(self._lines, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def proceed(self) -> None:
        """Let it read the driver's next line.

        :raises WorkerError: it has died
        """
        try:
            os.write(self._answers, b"\n")
        except BrokenPipeError as error:
            raise WorkerError("the process that forks scenarios has died") from error


def _status_text(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"
