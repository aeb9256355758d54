"""A worker on this host: a new process in its own process group."""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Self

from kvmprobe.build_inputs import check_parts
from kvmprobe.execution.link import LinkLostError
from kvmprobe.execution.worker import DEVICE_VARIABLE, PIPE, TRANSPORT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 1 << 16
_PR_SET_PDEATHSIG = 1


def ends_with_us() -> Callable[[], object]:
    """Return what a child calls before it executes a program: SIGTERM is to end it when we die.

    The library is loaded here, not in the child.
    """
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class LocalLink:
    """``python -m kvmprobe.execution.worker``, connected by a pair of pipes."""

    def __init__(self, device: str = "/dev/kvm") -> None:
        """Start it.

        :raises StaleBuild: the executor was built from other sources than those in use
        """
        check_parts()
        # Not a pipe: we read it only after the worker has ended, and a full pipe would block it.
        self._errors = TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kvmprobe.execution.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, DEVICE_VARIABLE: device, TRANSPORT_VARIABLE: PIPE},
            bufsize=0,
            process_group=0,
            # If we die without cleaning up, the signal makes the worker kill itself and its child.
            preexec_fn=ends_with_us(),  # noqa: PLW1509
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        os.set_blocking(self._input, False)
        self._unsent = bytearray()
        self._pending = b""
        self._lines: list[bytes] = []

    @property
    def _input(self) -> int:
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe above
        return self._process.stdin.fileno()

    @property
    def _output(self) -> int:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe above
        return self._process.stdout.fileno()

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def send(self, line: str) -> None:
        """Queue one line; it is written when the pipe has room, here or in :meth:`receive`.

        Waiting for room here could deadlock, because the worker may be waiting until its output is
        read.  :meth:`receive` reports a worker that has ended.
        """
        self._unsent += line.encode() + b"\n"
        self._write()

    def receive(self, timeout: float) -> str:
        """Return the next line."""
        while not self._lines:
            ready = self._ready(timeout)
            if not ready:
                raise LinkLostError(f"the worker sent nothing for {timeout:g} s", hung=True)
            if self._input in ready:
                self._write()
            if self._output in ready:
                self._read()
        return self._lines.pop().decode()

    def _ready(self, timeout: float) -> set[int]:
        registered = self._input in self._selector.get_map()
        if self._unsent and not registered:
            self._selector.register(self._input, selectors.EVENT_WRITE)
        elif registered and not self._unsent:
            self._selector.unregister(self._input)
        return {key.fd for key, _ in self._selector.select(timeout)}

    def _write(self) -> None:
        try:
            del self._unsent[: os.write(self._input, self._unsent)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._unsent.clear()

    def _read(self) -> None:
        chunk = os.read(self._output, _CHUNK)
        if not chunk:
            raise LinkLostError(self._end_message())
        *whole, self._pending = (self._pending + chunk).split(b"\n")
        self._lines = whole[::-1]

    def _end_message(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:] or [
            "no message"
        ]
        status = self._process.returncode
        if status < 0:
            return f"the worker was killed by signal {-status} ({signal.strsignal(-status)})"
        return f"the worker ended with status {status}: {last[0]}"

    def blocks_reached(self) -> None:
        """Return None: the blocks of a real host's kernel cannot be watched."""

    def abort(self) -> None:
        """Kill the worker and its child, from any thread."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.abort()
        self._process.wait()
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()
