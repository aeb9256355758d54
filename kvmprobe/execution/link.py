"""The connection to a worker, wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from kvmprobe.errors import WorkerError

if TYPE_CHECKING:
    from kvmprobe.results.record import Crash


class LinkLostError(WorkerError):
    """The worker no longer answers.

    :ivar crash: the report of the host that died; the caller fills in its step
    :ivar hung: it is silent, not gone
    """

    def __init__(self, message: str, crash: Crash | None = None, *, hung: bool = False) -> None:
        super().__init__(message)
        self.crash = crash
        self.hung = hung


class Link(Protocol):
    """Lines to and from one worker; a context manager that ends every process it started."""

    def send(self, line: str) -> None:
        """Send one line, without its end."""

    def receive(self, timeout: float) -> str:
        """Return the next line.

        :param timeout: seconds without one after which the worker counts as hung
        :raises LinkLostError: gone, hung, or its host died
        """

    def __enter__(self) -> Self:
        """Use it."""

    def __exit__(self, *_error: object) -> None:
        """End the worker and all its children."""
