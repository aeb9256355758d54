"""A QEMU with its monitor in JSON on standard input and output (``-qmp stdio``).

:see: qemu: docs/interop/qmp-spec.rst
"""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SECONDS = 300.0


class Monitor:
    """The monitor.

    :ivar program: what was started: QEMU, or what runs it
    :ivar rest: what it wrote after the end of the talk
    """

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self.program = program
        self.rest = ""
        assert "QMP" in self._next()
        self.ask("qmp_capabilities")

    def _next(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.program.stdout.readline())  # type: ignore[union-attr]
        return found

    def ask(self, command: str, **arguments: str) -> dict[str, Any]:
        """Give a command; return its answer."""
        message = {"execute": command, "arguments": arguments}
        print(json.dumps(message), file=self.program.stdin, flush=True)
        while "return" not in (answer := self._next()):
            assert "error" not in answer, answer
        found: dict[str, Any] = answer["return"]
        return found

    def wait(self) -> None:
        """Return when the state was saved or restored."""
        end = time.monotonic() + SECONDS
        while self.ask("query-migrate").get("status") != "completed":
            assert time.monotonic() < end

    def save(self) -> None:
        """Save the guest in the file ``state``."""
        self.ask("migrate", uri="exec:cat>state")
        self.wait()


@contextmanager
def monitored(command: Sequence[str], folder: Path) -> Iterator[Monitor]:
    """Start QEMU in a folder; it quits at the end."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True) as program:
        monitor = Monitor(program)
        yield monitor
        monitor.ask("quit")
        monitor.rest = program.stdout.read()  # type: ignore[union-attr]
