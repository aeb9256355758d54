"""How long work tells that it is going on; the command line implements it.

Layer: beside ``errors``.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what runs now; implementations draw it, or drop it."""

    def stage(self, text: str) -> None:
        """Begin a stage, for example ``emulator: compile``."""

    def advance(self, done: int, total: int) -> None:
        """Tell how far the stage is, in its own unit; ``total`` 0 means unknown."""

    def now(self, text: str) -> None:
        """Tell what of the stage runs now, for example a scenario's id."""


class Silent:
    """A Progress that shows nothing."""

    def stage(self, text: str) -> None:
        """Drop it."""

    def advance(self, done: int, total: int) -> None:
        """Drop it."""

    def now(self, text: str) -> None:
        """Drop it."""
