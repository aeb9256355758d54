"""Finds panics, oopses and warnings in the console text of a kernel.

Pure.  The text may be truncated, and other lines may be among those of a report;
``tests/golden/console`` has logs of real kernels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STAMP = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[\s*[TC]\d+\])? ?")
_PANIC = "Kernel panic - not syncing"
_PANIC_END = "---[ end Kernel panic"
_REPORT_ENDS = ("---[ end trace", _PANIC_END)
_CUT_HERE = "------------[ cut here ]------------"
_STARTS = re.compile(
    r"^(?:"
    r"-+\[ cut here \]-+|BUG: |kernel BUG at |WARNING: CPU|WARNING: [\w/.]+:\d+ at "
    r"|Oops: |Oops\b.*: \d{4} \[#|unexpected #\w+|general protection fault|invalid opcode:"
    r"|divide error:|traps: PANIC|double fault:"
    r"|PANIC: |watchdog: BUG: |INFO: rcu_\w+ (?:self-)?detected|Kernel panic - not syncing"
    r"|Unable to handle |int3: |stack segment:|bounds: |Bad FPU state detected"
    r")"
)
_RIP = re.compile(r"^RIP: [0-9a-f]{4}:(?:\[?<[0-9a-f]+>\]? *)?([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+")
_FRAME = re.compile(r"^ (?:\[<[0-9a-f]+>\] )?([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[[\w]+\])?$")
_TRACE = re.compile(r"^Call [Tt]race:")
# Functions that report a fault, not those in which it happened.
_REPORTING = re.compile(
    r"^(?:dump_stack\w*|show_\w+|panic|vpanic|nmi_panic|oops_end|die\w*|__die\w*|__warn\w*|warn_slowpath\w*"
    r"|report_bug|handle_bug|exc_\w+|asm_exc_\w+|do_trap|do_error_trap|math_error|page_fault_oops"
    r"|no_context|bad_area\w*|__?do_user_fault|sysvec_\w+|asm_sysvec_\w+)$"
)
_REGISTERS = re.compile(
    r"^(?:(?:R[A-Z]{2}|R\d\d|FS|CS|CR\d|DR\d|EFLAGS|PKRU|RIP|RSP|Code|Tainted|Modules linked in):"
    r"|Kernel Offset)"
)
_STRAY_LINES = 2
_OUTERMOST = re.compile(r"^(?:entry_SYSCALL_64\w*|do_syscall_64|x64_sys_call|ret_from_fork\w*)$")


@dataclass(frozen=True, slots=True)
class PanicReport:
    """The report of a fault in the kernel.

    :ivar headline: the kernel's one-line description, without time stamp
    :ivar function: the function of the fault; empty if the text does not have it
    :ivar frames: its reliable callers, innermost first, without the reporting functions
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
    return console.find(_PANIC.encode(), max(0, start - len(_PANIC))) >= 0


def is_complete(console: bytearray, start: int) -> bool:
    """Return True if the last line of a panic is at, after or across byte ``start``."""
    return console.find(_PANIC_END.encode(), max(0, start - len(_PANIC))) >= 0


def find_panic(text: str) -> PanicReport | None:
    """Return the report of the panic in a console text, with the fault that led to it."""
    console = _Console(text)
    panics = [span for span in console.spans if console.mentions(span, _PANIC)]
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
        for number, line in enumerate(self.bare):
            begins = _STARTS.match(line) is not None
            if start is not None and (_CUT_HERE in line or (begins and _PANIC in line)):
                yield range(start, number)
                start = None
            if start is None and begins:
                start = number
            if start is not None and line.startswith(_REPORT_ENDS):
                yield range(start, number + 1)
                start = None
        if start is not None:
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
        frames = _frames(bare)
        text = "\n".join(self.printed[span.start : span.stop]) + "\n"
        return PanicReport(_headline(bare), _function(bare, frames), frames, text)


# An oops is more specific than the warning before it, and both than the panic.
def _headline(bare: list[str]) -> str:
    starts = [line.strip() for line in bare if _STARTS.match(line) and _CUT_HERE not in line]
    named = [line for line in starts if _PANIC not in line]
    graver = [line for line in named if not line.startswith("WARNING:")]
    return next(iter(graver + named + starts), "")


def _function(bare: list[str], frames: tuple[str, ...]) -> str:
    found = [match[1] for line in bare if (match := _RIP.match(line.strip()))]
    faulting = [name for name in found if not _REPORTING.match(name)]
    return next(iter([*faulting, *frames, *found]), "")


def _frames(bare: list[str]) -> tuple[str, ...]:
    frames: list[str] = []
    inside = False
    for line in bare:
        if _TRACE.match(line):
            if frames:
                break
            inside = True
        elif inside and (match := _FRAME.match(line)) and not _REPORTING.match(match[1]):
            if _OUTERMOST.match(match[1]):
                break
            frames.append(match[1])
    return tuple(frames)
