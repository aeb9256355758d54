"""What identifies a fault that the kernel reports: its kind, and the functions it happened in.

One table has the first lines of reports.  The identity has no addresses, offsets, line numbers,
counters or names of tasks, and no words that depend on how a kernel is built: the same defect has
one identity on all kernels.

:see: arch/x86/kernel/dumpstack.c: __die_header; arch/x86/mm/fault.c: show_fault_oops;
    kernel/panic.c: __warn; kernel/watchdog.c: watchdog_timer_fn; kernel/hung_task.c:
    check_hung_task; kernel/rcu/tree_stall.h; mm/kfence/report.c; lib/ubsan.c
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class FaultKind(StrEnum):
    """The kinds of reports; the graver one is what a report is about."""

    SANITIZER = "sanitizer"
    SOFT_LOCKUP = "soft lockup"
    HARD_LOCKUP = "hard lockup"
    RCU_STALL = "RCU stall"
    HUNG_TASK = "hung task"
    BUG = "BUG"
    OOPS = "oops"
    WARNING = "warning"
    PANIC = "panic"


PANIC = "Kernel panic - not syncing"
# Functions of a call trace that identify a fault; those further out are the system call's.
_FUNCTIONS = 3
_DIE = r"(?:[0-9a-f]{4} )?\[#\d+\]"
# The kind of each first line, and what is left of it.  The first entry that matches counts.
_LINES = tuple(
    (re.compile(pattern), kind, what)
    for pattern, kind, what in (
        (r"BUG: (K(?:ASAN|FENCE|MSAN|CSAN): [\w -]+?)(?: in |$)", FaultKind.SANITIZER, ""),
        (r"(UBSAN: [\w -]+?)(?: in |$)", FaultKind.SANITIZER, ""),
        (r"(?:NMI )?watchdog: BUG: soft lockup", FaultKind.SOFT_LOCKUP, "soft lockup"),
        (
            r"(?:NMI )?watchdog: (?:CPU ?\d+: )?Watchdog detected hard LOCKUP",
            FaultKind.HARD_LOCKUP,
            "hard lockup",
        ),
        (r"(?:rcu: )?INFO: rcu\w* (?:self-)?detected ", FaultKind.RCU_STALL, "stall"),
        (r"INFO: task .* blocked for more than", FaultKind.HUNG_TASK, "hung task"),
        (r"kernel BUG at ", FaultKind.BUG, "kernel BUG"),
        (
            r"BUG: (?:kernel NULL pointer dereference|unable to handle )|Unable to handle ",
            FaultKind.OOPS,
            "page fault",
        ),
        (r"BUG: \w+ stack guard page was hit", FaultKind.OOPS, "stack guard page"),
        (rf"Oops: {_DIE}", FaultKind.OOPS, "page fault"),
        (rf"(?:Oops: )*([\w #/-]+?)(?:, .*)?: {_DIE}", FaultKind.OOPS, ""),
        (r"(?:traps: )?PANIC: ([\w ]+)|(double fault):", FaultKind.OOPS, ""),
        (r"(?:Oops: )+(.*)", FaultKind.OOPS, ""),
        (r"(Bad FPU state detected)", FaultKind.OOPS, ""),
        (r"BUG: ([\w ()'-]+)", FaultKind.BUG, ""),
        (r"WARNING: (?:CPU: \d|[\w/.-]+:\d+ )", FaultKind.WARNING, "warning"),
        (r"(unchecked MSR access error: \w+)", FaultKind.WARNING, ""),
        (rf"{PANIC}:? ?(.*)", FaultKind.PANIC, ""),
    )
)
_NUMBER = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b(?:/0x[0-9a-f]+)?")
# What the compiler appends to the name of a function that it split or changed.
_SUFFIX = re.compile(r"(?:\.(?:cold|isra|part|constprop|lto_priv|llvm|\d+)(?:\.\d+)?)+$")
# Where a task that sleeps is, whatever it waits for.
_SLEEPING = re.compile(r"(?:__schedule(?:_bug)?|schedule(?:_(?:timeout|preempt_disabled)\w*)?)$")
_ASLEEP = ("hung task", "scheduling while atomic")
_IN_LINE = re.compile(r"\b([a-zA-Z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """What identifies a fault.

    :ivar what: the kernel's words for it, without what differs from report to report
    :ivar path: the function of the fault and its callers, innermost first
    """

    kind: FaultKind
    what: str
    path: tuple[str, ...]


def kind_of(line: str) -> FaultKind | None:
    """Return the kind of report that begins with this line; None if none does."""
    found = _found(line)
    return found[0] if found else None


def fault(headline: str, functions: Iterable[str] = ()) -> Fault | None:
    """Identify a fault; None if the kernel reports none with this line.

    :param headline: the first line of the report
    :param functions: the function of the fault and its callers
    """
    found = _found(headline)
    if found is None:
        return None
    kind, what = found
    names = [name for name in functions if name]
    path = dict.fromkeys(_SUFFIX.sub("", name) for name in names)
    if what in _ASLEEP:
        path = dict.fromkeys(name for name in path if not _SLEEPING.match(name))
    return Fault(kind, what, tuple(path)[:_FUNCTIONS])


def named_function(headline: str) -> str:
    """Return the function that the first line of a report names; empty if it names none."""
    return next(iter(_IN_LINE.findall(headline)), "")


def _found(line: str) -> tuple[FaultKind, str] | None:
    for pattern, kind, what in _LINES:
        if match := pattern.match(line):
            own = next(filter(None, match.groups()), "")
            return kind, what or _NUMBER.sub("N", own).strip()
    return None
