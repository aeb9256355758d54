"""Progress of long operations; the command line implements the display."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives progress; implementations display or ignore it."""

    def stage(self, text: str) -> None:
        """Start a stage, for example ``emulator: compile``."""

    def advance(self, done: int, total: int) -> None:
        """Report ``done`` of ``total`` units of the stage; ``total`` 0 means unknown."""

    def now(self, text: str) -> None:
        """Report the current item of the stage, for example a scenario's id."""


class Silent:
    """A Progress that ignores everything."""

    def stage(self, text: str) -> None:
        """Ignore it."""

    def advance(self, done: int, total: int) -> None:
        """Ignore it."""

    def now(self, text: str) -> None:
        """Ignore it."""
