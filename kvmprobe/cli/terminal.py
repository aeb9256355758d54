"""Consoles, and progress as a status line; plain where there is no terminal."""

from __future__ import annotations

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

_REPEAT_SECONDS = 15.0


def output() -> Console:
    """Return standard output's console."""
    return Console(highlight=False, markup=False)


class StatusLine:
    """Progress on standard error: one line that is redrawn, and is gone at the end."""

    def __init__(self) -> None:
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()

    def stage(self, text: str) -> None:
        """Begin a stage."""
        self._bar.reset(self._task, description=text, total=None, completed=0)

    def advance(self, done: int, total: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=done, total=total or None)


class LinePerStage:
    """Progress on a standard error that is no terminal: a line a stage, and one now and then."""

    def __init__(self) -> None:
        self._stage = ""
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        return

    def stage(self, text: str) -> None:
        """Print a new stage."""
        if text != self._stage:
            self._stage = text
            self._told = time.monotonic()
            print(f"kvmprobe: {text}", file=sys.stderr, flush=True)

    def advance(self, done: int, total: int) -> None:
        """Print how far a long stage is."""
        if time.monotonic() - self._told >= _REPEAT_SECONDS:
            self._told = time.monotonic()
            print(f"kvmprobe: {self._stage}: {done} of {total or '?'}", file=sys.stderr, flush=True)


def progress() -> StatusLine | LinePerStage:
    """Return what fits standard error."""
    return StatusLine() if sys.stderr.isatty() else LinePerStage()
