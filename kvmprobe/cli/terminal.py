"""Terminal output, plain or coloured, and progress as a status line or as lines.

rich's Live draws the status line.  rich.progress has no column for ``1423/3063  812/s``, its speed
does not fall while nothing completes, and its line leaves no room for ^C.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from kvmprobe.errors import OutputLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_REPEAT_SECONDS = 15.0
_RATE_SECONDS = 10.0
_REFRESHES_PER_SECOND = 5
# The terminal echoes ^C after the status line; without room for it, the line would scroll.
_KEY_WIDTH = 3


class Output(Console):
    """Standard output's console.

    :ivar timestamps: whether each line begins with the time
    """

    timestamps = False

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has it
        """Print; with timestamps, one in each line of text.

        :raises OutputLost: it cannot be written; later output is dropped
        """
        try:
            self._print(*objects, **options)
        except OSError as error:
            # Flushing the buffer at exit would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise OutputLost(error) from error

    def on_broken_pipe(self) -> None:
        """Do not exit with status 1, which means that the kernel failed."""
        raise  # noqa: PLE0704 - rich calls this where it handles BrokenPipeError

    def _print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401 - as rich has it
        if not self.timestamps or not all(isinstance(o, str | Text) for o in objects):
            super().print(*objects, **options)
            return
        for shown in objects:
            text = shown if isinstance(shown, Text) else Text(shown)
            for line in text.split("\n", allow_blank=True):
                super().print(Text(f"{_time()} ") + line, **options)


@cache
def output() -> Output:
    """Return the console of standard output, which prints above the status line."""
    return Output(highlight=False, markup=False, color_system=colours(os.environ))


def print_line(line: str) -> None:
    """Print a line about the run, not a result, on standard error."""
    stamp = f"{_time()} " if output().timestamps else ""
    print(f"{stamp}{line}", file=sys.stderr, flush=True)


def colours(environ: Mapping[str, str]) -> Literal["auto"] | None:
    """Return rich's color system: None with NO_COLOR, in CI and on a dumb terminal.

    :see: https://no-color.org and https://force-color.org
    """
    if environ.get("NO_COLOR"):
        return None
    return "auto" if environ.get("FORCE_COLOR") or not _unattended(environ) else None


def _unattended(environ: Mapping[str, str]) -> bool:
    ci = environ.get("CI", "").lower() not in {"", "0", "false"}
    return ci or environ.get("TERM", "") in {"dumb", "unknown"}


def _time() -> str:
    return datetime.now(UTC).astimezone().isoformat(timespec="milliseconds")


@dataclass(slots=True)
class Meter:
    """How far the work is.

    :ivar stage: the current stage, for example ``this host, 6.18: scenarios``
    :ivar current: the current item of the stage, for example a scenario's id
    :ivar total: in the unit of the stage, as ``done``; 0 if unknown
    :ivar tally: failures so far
    """

    clock: Callable[[], float] = monotonic
    stage: str = ""
    current: str = ""
    done: int = 0
    total: int = 0
    tally: str = ""
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def begin(self, stage: str) -> None:
        """Start a stage, and its count at 0."""
        self.stage, self.current, self.done, self.total = stage, "", 0, 0
        self._samples.clear()

    def advance(self, done: int, total: int) -> None:
        """Record a count."""
        now = self.clock()
        while len(self._samples) > 1 and self._samples[1][0] <= now - _RATE_SECONDS:
            self._samples.popleft()
        self._samples.append((now, done))
        self.done, self.total = done, total

    @property
    def rate(self) -> float:
        """Units for each second, in the last ten seconds."""
        if not self._samples:
            return 0.0
        since, done = self._samples[0]
        return (self.done - done) / max(self.clock() - since, 0.001)

    @property
    def counts(self) -> str:
        """Done, total and rate: ``1423/3063  812/s``; empty before the first count."""
        if not self._samples:
            return ""
        total = _short(self.total) if self.total else "?"
        return f"{_short(self.done)}/{total}  {_short(round(self.rate))}/s"


def _short(number: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


class _Display:
    """A context manager that displays progress; a subclass displays stages and counts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._meter = Meter(clock)
        self._clock, self._started = clock, clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the progress; the terminal is free for other output."""

    def now(self, text: str) -> None:
        """Set the current item."""
        self._meter.current = text

    def tally(self, text: str) -> None:
        """Set the failures so far."""
        self._meter.tally = text


class StatusLine(_Display):
    """Progress as one line below the output, which disappears at the end."""

    def __init__(self, console: Console, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(clock)
        self._console = console
        self._live = Live(
            console=console,
            get_renderable=self.line,
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def stop(self) -> None:
        """Remove the line; the terminal is free for other output."""
        self._live.stop()

    def line(self) -> Text:
        """Return done, total, rate, elapsed, failures and current item, truncated to one line."""
        meter = self._meter
        minutes, seconds = divmod(int(self._clock() - self._started), 60)
        elapsed = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
        now = f"{meter.stage}: {meter.current}" if meter.current else meter.stage
        parts = [part for part in (meter.counts, elapsed, meter.tally, now) if part]
        text = Text("  ".join(parts))
        text.truncate(max(self._console.width - _KEY_WIDTH, 1), overflow="ellipsis")
        return text

    def stage(self, text: str) -> None:
        """Start a stage."""
        self._meter.begin(text)

    def advance(self, done: int, total: int) -> None:
        """Show the count."""
        self._meter.advance(done, total)


class LinePerStage(_Display):
    """Progress without a terminal: a line for each stage, and one every 15 s, on standard error."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(clock)
        self._printed = self._started

    def stage(self, text: str) -> None:
        """Print a new stage."""
        if text != self._meter.stage:
            self._printed = self._clock()
            print_line(f"kvmprobe: {text}")
        self._meter.begin(text)

    def advance(self, done: int, total: int) -> None:
        """Print the progress of a long stage."""
        self._meter.advance(done, total)
        if self._clock() - self._printed >= _REPEAT_SECONDS:
            self._printed = self._clock()
            meter = self._meter
            parts = [f"{meter.stage}: {meter.counts}", meter.tally, meter.current]
            print_line(f"kvmprobe: {', '.join(part for part in parts if part)}")


def progress() -> StatusLine | LinePerStage:
    """Return a status line if there is a terminal, else lines."""
    if not _unattended(os.environ):
        if sys.stdout.isatty():
            return StatusLine(output())
        if sys.stderr.isatty():
            return StatusLine(Console(stderr=True, color_system=colours(os.environ)))
    return LinePerStage()
