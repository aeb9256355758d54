"""The part of a crash log for a mail."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmprobe.reports.bug_report.text import quoted
from kvmprobe.reports.html_report.console_log import telling_lines
from kvmprobe.results.console_text import unstamped

if TYPE_CHECKING:
    from kvmprobe.results.record import Crash

# Lines with the kernel's release and the machine.
_KERNEL = re.compile(r"CPU: \d+ .*(?:Not tainted|Tainted: )|Hardware name: ")
_FRAME = re.compile(r"\s*\w[\w.]*\+0x[0-9a-f]+/0x[0-9a-f]+")
_WARNING, _END = "WARNING: ", "---[ end "
_MOST_LINES = 40


def trimmed_log(crash: Crash) -> list[str]:
    """Return the lines with the fault, its place, its callers, the kernel and the machine.

    Time stamps, registers, code bytes, frames with ``?``, and repeated lines are omitted; ``[...]``
    is at the end if the text is too long for a mail.
    """
    lines = [unstamped(line).rstrip() for line in crash.report.splitlines()]
    relevant = set(telling_lines(crash, lines))
    start = next((n for n in sorted(relevant) if _is_headline(crash, lines[n])), 0)
    kept = [
        f" {line.strip()}" if _FRAME.match(line) else line
        for number, line in enumerate(lines)
        # A warning may precede the headline; its trace is the same.
        if line.startswith(_WARNING)
        or (number >= start and (number in relevant or _KERNEL.match(line)))
        if not line.startswith(_END)
    ]
    unique = list(dict.fromkeys(kept)) or [crash.headline]
    shown = unique[:_MOST_LINES]
    return [quoted(line) for line in (*shown, *(["[...]"] if len(unique) > _MOST_LINES else []))]


def _is_headline(crash: Crash, line: str) -> bool:
    return bool(crash.headline) and crash.headline in line
