"""Reads a kernel's console text: panics, oopses and warnings, and where they happened.

Pure.  Robust against text that is cut short, and against lines of others in between; golden logs of
real kernels are under ``tests/golden/console``.
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
# How the kernel came to report, not what went wrong.
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
    """What the kernel said when something went wrong in it.

    :ivar headline: its own one-line description, without time stamp
    :ivar function: where it happened; empty if the text does not say
    :ivar frames: reliable callers of it, innermost first, without the reporting code around
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
    """Return a line without its level, its time and who printed it."""
    return _STAMP.sub("", line)


def is_panicking(console: bytearray, start: int) -> bool:
    """Return True if a panic was announced at or after byte ``start``, or across it."""
    return console.find(_PANIC.encode(), max(0, start - len(_PANIC))) >= 0


def is_complete(console: bytearray, start: int) -> bool:
    """Return True if the report of a panic announced around byte ``start`` is complete."""
    return console.find(_PANIC_END.encode(), max(0, start - len(_PANIC))) >= 0


def find_panic(text: str) -> PanicReport | None:
    """Return the report of the panic in a console text, the trouble that led to it included."""
    said = _Said(text)
    panics = [span for span in said.spans if said.mentions(span, _PANIC)]
    if not panics:
        return None
    first = said.spans.index(panics[0])
    while first > 0 and said.adjoin(said.spans[first - 1], said.spans[first]):
        first -= 1
    return said.report(range(said.spans[first].start, panics[0].stop))


def find_reports(text: str) -> tuple[PanicReport, ...]:
    """Return every report in a console text, warnings too, in order."""
    said = _Said(text)
    return tuple(said.report(span) for span in said.spans)


class _Said:
    """Console lines with the places of the reports in them."""

    def __init__(self, text: str) -> None:
        self.printed = lines(text)
        self.bare = [unstamped(line) for line in self.printed]
        self.spans = list(self._find_spans())

    # A report lasts to its end marker, or to the next start if that is missing.
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

    # An oops repeats its registers between its end marker and the panic; other lines mean other
    # times.
    def adjoin(self, earlier: range, later: range) -> bool:
        between = self.bare[earlier.stop : later.start]
        return sum(not _REGISTERS.match(line) for line in between) <= _STRAY_LINES

    def report(self, span: range) -> PanicReport:
        bare = self.bare[span.start : span.stop]
        frames = _frames(bare)
        text = "\n".join(self.printed[span.start : span.stop]) + "\n"
        return PanicReport(_headline(bare), _function(bare, frames), frames, text)


# An oops says more than the warning before it, and both say more than that the kernel gives up.
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
