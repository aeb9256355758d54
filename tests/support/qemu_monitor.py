"""A QEMU with its monitor in JSON on standard input and output (``-qmp stdio``).

:see: qemu: docs/interop/qmp-spec.rst
"""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Monitor:
    """The monitor.

    :ivar program: what was started: QEMU, or what runs it
    :ivar rest: what it wrote after the end of the talk
    """

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self.program = program
        self.rest = ""
        self._migrations: list[str] = []
        assert "QMP" in self._next()
        self._ask("qmp_capabilities")
        events = {"capability": "events", "state": True}
        self._ask("migrate-set-capabilities", capabilities=[events])

    def save(self) -> None:
        """Save the guest in the file ``state``."""
        self._migrate("migrate", "exec:cat>state")

    def restore(self) -> None:
        """Restore it, after a start with ``-incoming defer``."""
        self._migrate("migrate-incoming", "exec:cat state")

    def quit(self) -> None:
        """End QEMU."""
        self._ask("quit")
        self.rest = self.program.stdout.read()  # type: ignore[union-attr]

    def _migrate(self, command: str, uri: str) -> None:
        self._ask(command, uri=uri)
        while "completed" not in self._migrations:
            assert "failed" not in self._migrations
            self._next()

    def _ask(self, command: str, **arguments: Any) -> None:
        message = {"execute": command, "arguments": arguments}
        print(json.dumps(message), file=self.program.stdin, flush=True)
        while "return" not in (answer := self._next()):
            assert "error" not in answer, answer

    def _next(self) -> dict[str, Any]:
        """Read an answer, or an event, of which those about migration are kept."""
        found: dict[str, Any] = json.loads(self.program.stdout.readline())  # type: ignore[union-attr]
        if found.get("event") == "MIGRATION":
            self._migrations.append(found["data"]["status"])
        return found


@contextmanager
def monitored(command: Sequence[str], folder: Path) -> Iterator[Monitor]:
    """Start QEMU in a folder; it quits at the end."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True) as program:
        monitor = Monitor(program)
        yield monitor
        monitor.quit()
