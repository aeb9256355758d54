"""The function of a fault and its callers, from the lines of a kernel's report.  Pure.

:see: arch/x86/kernel/dumpstack.c: show_trace_log_lvl, which writes ``?`` before what it found on
    the stack and doubts; mm/kfence/report.c: kfence_print_stack
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING

from kvmprobe.results.fault import FaultKind, kind_of, named_function

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_RIP = re.compile(r"^RIP: [0-9a-f]{4}:(?:\[?<[0-9a-f]+>\]? *)?([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+")
# A kernel with CONFIG_STACKTRACE_BUILD_ID appends the module's build id to its name.
_MODULE = r"(?: \[\w+(?: [0-9a-f]+)?\])?$"
_FRAME = re.compile(r"^ (?:\[<[0-9a-f]+>\] )?([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+" + _MODULE)
_DOUBTED = re.compile(r"^ \? ([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+" + _MODULE)
_TRACE = re.compile(r"^Call [Tt]race:")
_ENDS = ("</IRQ>", "</NMI>", "</TASK>")
# The interrupt that found the stall.
_FOUND_BY = ("<IRQ>", "<NMI>")
_INTERRUPT = re.compile(r"^ (?:\? )?asm_sysvec_")
_STALLS = (FaultKind.SOFT_LOCKUP, FaultKind.HARD_LOCKUP, FaultKind.RCU_STALL)
# Functions that report a fault, not those in which it happened.
_REPORTING = re.compile(
    r"^(?:dump_stack\w*|show_\w+|panic|vpanic|nmi_panic|oops_end|die\w*|__die\w*|__warn\w*|warn_slowpath\w*"
    r"|report_bug|handle_bug|exc_\w+|asm_exc_\w+|do_trap|do_error_trap|math_error|page_fault_oops"
    r"|no_context|bad_area\w*|__?do_user_fault|sysvec_\w+|asm_sysvec_\w+"
    r"|__list_(?:add|del)_\w+|refcount_warn_saturate|__copy_overflow|usercopy_abort|fortify_panic"
    r"|__schedule_bug|__ubsan_\w+|ubsan_\w+|k[a-z]san_\w+|__asan_\w+|kfence_\w+|print_report"
    r"|print_address_description)(?:\.\w+)*$"
)
# Symbols of the bytes before a function.
_PADDING = "__pfx_"
_OUTERMOST = re.compile(r"^(?:entry_SYSCALL_64\w*|do_syscall_64|x64_sys_call|ret_from_fork\w*)$")


def function(headline: str, report: Sequence[str], callers: tuple[str, ...]) -> str:
    """Return the function of the fault; empty if the report does not have it, or only who reports.

    :param report: its lines, without time stamps
    """
    named = named_function(headline)
    # Of a stalled task that was preempted no registers are printed, but of the next one.
    own = takewhile("</TASK>".__ne__, map(str.strip, report))
    meant = own if kind_of(headline) in _STALLS else map(str.strip, report)
    registers = [match[1] for line in meant if (match := _RIP.match(line))]
    found = [named, *registers] if named else registers
    faulting = [name for name in found if not _REPORTING.match(name)]
    return next(iter([*faulting, *callers]), "")


def frames(headline: str, report: Sequence[str]) -> tuple[str, ...]:
    """Return the functions of the first call trace, innermost first, without those that report.

    Those that the kernel doubts are returned only if it is sure of none in the whole trace: what
    earlier calls left on the stack may be among them.
    """
    kind = kind_of(headline)
    parts = list(_bare_trace(report) if kind is FaultKind.SANITIZER else _parts(report))
    if kind in _STALLS:
        return _stalled(parts)
    sure = (_names(_FRAME, lines) for lines, _ in parts)
    doubted = (_names(_DOUBTED, lines) for lines, end in parts if end)
    return next(filter(None, (*sure, *doubted)), ())


def _stalled(parts: Sequence[tuple[list[str], str]]) -> tuple[str, ...]:
    """Return the functions of the first task, which an interrupt stopped there; later come others.

    On the stack of the interrupt are those that found the stall.
    """
    for lines, end in parts:
        if lines[0].strip() not in _FOUND_BY:
            entries = [number for number, line in enumerate(lines) if _INTERRUPT.match(line)]
            stopped = lines[max(entries, default=-1) + 1 :]
            found = _names(_FRAME, stopped) or (_names(_DOUBTED, stopped) if end else ())
            if found:
                return found
    return ()


def _parts(report: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """Yield the lines of each part of a trace, and what ends it; empty if the trace is cut off.

    The stack of an interrupt is a part, and so is that of the task that it interrupted.
    """
    part: list[str] | None = None
    for line in report:
        if _TRACE.match(line):
            if part:
                yield part, ""
            part = []
        elif part and line.strip() in _ENDS:
            yield part, line.strip()
            part = []
        elif part is not None:
            part.append(line)
    if part:
        yield part, ""


def _bare_trace(report: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """Yield the first trace, which has no words before it; or that after such words."""
    begun: list[str] = []
    for line in report:
        if _FRAME.match(line) or _DOUBTED.match(line):
            begun.append(line)
        elif begun:
            break
    yield begun, ""


def _names(pattern: re.Pattern[str], lines: Sequence[str]) -> tuple[str, ...]:
    """Return the functions that lines name, up to the outermost ones."""
    names: list[str] = []
    for match in filter(None, map(pattern.match, lines)):
        if _OUTERMOST.match(match[1]):
            break
        if not (match[1].startswith(_PADDING) or _REPORTING.match(match[1])):
            names.append(match[1])
    return tuple(names)
