"""The connection to a worker, on this host or in the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from kvmprobe.errors import WorkerError

if TYPE_CHECKING:
    from kvmprobe.results.record import Crash


class LinkLostError(WorkerError):
    """The worker no longer answers.

    :ivar crash: report of the host's crash, if there was one; the caller sets its step
    :ivar hung: the worker has not ended, but is silent
    """

    def __init__(self, message: str, crash: Crash | None = None, *, hung: bool = False) -> None:
        super().__init__(message)
        self.crash = crash
        self.hung = hung


class HostGoneError(LinkLostError):
    """The emulator was killed, failed or did not run: nothing that the kernel under test did."""


class Link(Protocol):
    """Exchanges lines with one worker; a context manager that ends all processes it started."""

    def send(self, line: str) -> None:
        """Send one line; ``line`` has no newline."""

    def receive(self, timeout: float) -> str:
        """Return the next line.

        :param timeout: seconds without a line after which the worker counts as hung
        :raises LinkLostError: the worker ended or hangs, or its host died
        """

    def blocks_reached(self) -> bytes | None:
        """Return the blocks of the kernel that the scenario reached whose end was just received.

        :returns: a bit for each watched block, the lowest bit of the first byte is block 0; None
            if none are watched
        """

    def abort(self) -> None:
        """Kill the worker, from any thread; :meth:`receive` then raises LinkLostError."""

    def __enter__(self) -> Self:
        """Return the link."""

    def __exit__(self, *_error: object) -> None:
        """End the worker and all its children."""
