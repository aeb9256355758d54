"""A process of a worker: it is heard as long as a client wants its task."""

from __future__ import annotations

import selectors
from typing import IO, TYPE_CHECKING

from distributed import get_worker
from distributed.core import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

# Between two looks at whether the client still wants the task.
_LOOK_SECONDS = 0.5


class Wanted:
    """The task of dask that runs in this thread."""

    def __init__(self) -> None:
        self._worker = get_worker()
        self._key = self._worker.get_current_task()

    def lines(self, output: IO[bytes] | None) -> Iterator[bytes]:
        """Yield the lines that a process writes, until it ends or the task is not wanted.

        :param output: a pipe without a buffer
        """
        assert output is not None  # noqa: S101 - opened as a pipe
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while self.still():
                if selector.select(_LOOK_SECONDS):
                    line = output.readline()
                    if not line:
                        return
                    yield line

    def still(self) -> bool:
        """Return True if a client wants the task."""
        if self._worker.status is not Status.running:
            return False
        task = self._worker.state.tasks.get(self._key)
        return task is not None and task.state != "cancelled"
