"""Finds the Oops in the kernel log that killed a task of the scenario."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmprobe.results.console_text import find_reports
from kvmprobe.results.record import Crash
from kvmprobe.results.trace import End

if TYPE_CHECKING:
    from kvmprobe.results.trace import Trace

# die_counter, which only an Oops prints: arch/x86/kernel/dumpstack.c: __die_header
_DEADLY = re.compile(r"\[#\d+\]")
# lib/dump_stack.c: dump_stack_print_info
_VICTIM = re.compile(r"\bPID: (\d+) Comm: (.+?) (?:Kdump|Tainted|Not tainted)")


def oops_of(trace: Trace) -> Crash | None:
    """Return the first Oops that killed a task of this scenario, or None.

    If it killed only one task, the others wait until the scenario times out.  The victim is then
    recognized by its thread id, or by its name, which all tasks that do not exec share.
    """
    if trace.end not in {End.SIGNAL, End.TIMEOUT}:
        return None
    for report in find_reports("\n".join(trace.last_log)):
        victim = _VICTIM.search(report.text)
        if _DEADLY.search(report.text) and victim and _is_ours(victim, trace):
            name = f"{victim[2]} ({victim[1]})"
            headline, function, frames = report.headline, report.function, report.frames
            return Crash(0, None, headline, function, frames, report.text, name)
    return None


def _is_ours(victim: re.Match[str], trace: Trace) -> bool:
    if trace.hang is None:
        return True
    return any(task.name == victim[2] or task.tid == int(victim[1]) for task in trace.hang.tasks)
