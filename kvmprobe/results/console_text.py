"""Finds panics, oopses and warnings in the console text of a kernel.

Pure.  The text may be truncated, and other lines may be among those of a report;
``tests/golden/console`` has logs of real kernels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.results import call_trace
from kvmprobe.results.fault import PANIC, FaultKind, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_STAMP = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[\s*[TC]\d+\])? ?")
_PANIC_END = "---[ end Kernel panic"
_REPORT_ENDS = ("---[ end trace", _PANIC_END)
_CUT_HERE = "------------[ cut here ]------------"
_TASK = re.compile(r"\bCPU: (\d+) (?:UID: \d+ )?PID: (\d+)")
# A fault within one of these is of the same report.
_OPEN = (FaultKind.WARNING, FaultKind.BUG, FaultKind.OOPS)
_REGISTERS = re.compile(
    r"^(?:(?:R[A-Z]{2}|R\d\d|FS|CS|CR\d|DR\d|EFLAGS|PKRU|RIP|RSP|Code|Tainted|Modules linked in):"
    r"|Kernel Offset)"
)
_STRAY_LINES = 2


@dataclass(frozen=True, slots=True)
class PanicReport:
    """The report of a fault in the kernel.

    :ivar headline: the kernel's one-line description, without time stamp
    :ivar function: the function of the fault; empty if the text does not have it
    :ivar frames: its callers, innermost first, without the reporting functions; those that the
        kernel doubts only if it is sure of none
    :ivar text: the whole report, as printed
    """

    headline: str
    function: str
    frames: tuple[str, ...]
    text: str


def lines(text: str) -> list[str]:
    """Split console text, dropping carriage returns and empty lines."""
    return [line for line in text.replace("\r", "").split("\n") if line.strip()]


def unstamped(line: str) -> str:
    """Return a line without its level, its time and its caller id."""
    return _STAMP.sub("", line)


def is_panicking(console: bytearray, start: int) -> bool:
    """Return True if the first line of a panic is at, after or across byte ``start``."""
    return console.find(PANIC.encode(), max(0, start - len(PANIC))) >= 0


def is_complete(console: bytearray, start: int) -> bool:
    """Return True if the last line of a panic is at, after or across byte ``start``."""
    return console.find(_PANIC_END.encode(), max(0, start - len(PANIC))) >= 0


def find_panic(text: str) -> PanicReport | None:
    """Return the report of the panic in a console text, with the fault that led to it."""
    console = _Console(text)
    panics = [span for span in console.spans if console.mentions(span, PANIC)]
    if not panics:
        return None
    first = console.spans.index(panics[0])
    while first > 0 and console.adjoin(console.spans[first - 1], console.spans[first]):
        first -= 1
    return console.report(range(console.spans[first].start, panics[0].stop))


def find_reports(text: str) -> tuple[PanicReport, ...]:
    """Return all reports in a console text, including warnings, in order."""
    console = _Console(text)
    return tuple(console.report(span) for span in console.spans)


class _Console:
    """Console lines, and the ranges of the reports among them."""

    def __init__(self, text: str) -> None:
        self.printed = lines(text)
        self.bare = [unstamped(line) for line in self.printed]
        self.spans = list(self._find_spans())

    # A report ends with its end marker or, if that is missing, before the next report.
    def _find_spans(self) -> Iterator[range]:
        start: int | None = None
        current: FaultKind | None = None
        for number, line in enumerate(self.bare):
            kind = kind_of(line)
            begins = kind is not None or _CUT_HERE in line
            if start is not None and current and begins and not _goes_on(current, kind):
                yield range(start, number)
                start = current = None
            if start is None and begins:
                start = number
            current = current or kind
            if start is not None and line.startswith(_REPORT_ENDS):
                if current:
                    yield range(start, number + 1)
                start = current = None
        if start is not None and current:
            yield range(start, len(self.bare))

    def mentions(self, span: range, words: str) -> bool:
        return any(words in self.bare[number] for number in span)

    # Between the end of an oops and the panic the kernel prints the registers again; other lines
    # mean that the two are not related.
    def adjoin(self, earlier: range, later: range) -> bool:
        between = self.bare[earlier.stop : later.start]
        return sum(not _REGISTERS.match(line) for line in between) <= _STRAY_LINES

    def report(self, span: range) -> PanicReport:
        bare = self.bare[span.start : span.stop]
        headline = _headline(bare)
        frames = () if _is_of_several(headline, bare) else call_trace.frames(headline, bare)
        function = call_trace.function(headline, bare, frames)
        text = "\n".join(self.printed[span.start : span.stop]) + "\n"
        return PanicReport(headline, function, frames, text)


def _goes_on(current: FaultKind, kind: FaultKind | None) -> bool:
    """Return True if a first line of this kind belongs to the current report."""
    return kind is FaultKind.OOPS and current in _OPEN


def _is_of_several(headline: str, bare: list[str]) -> bool:
    """Return True if reports of several tasks or processors are mixed.

    Which call trace belongs to the headline cannot be known then.  A stall is reported with the
    tasks of all processors, the one that is meant first.
    """
    tasks = {match.groups() for line in bare for match in [_TASK.search(line)] if match}
    return len(tasks) > 1 and kind_of(headline) in _OPEN


# An oops is more specific than the warning before it, and both than the panic.
def _headline(bare: list[str]) -> str:
    starts = [line.strip() for line in bare if kind_of(line)]
    named = [line for line in starts if PANIC not in line]
    graver = [line for line in named if kind_of(line) is not FaultKind.WARNING]
    return next(iter(graver + named + starts), "")
