"""A known defect of the kernel as lines of text."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmprobe.results.known import KnownDefect

_WIDTH = 100


def defect_lines(defect: KnownDefect) -> list[str]:
    """Return what it is, which kernels have it, and the commands that show it."""
    fields = {
        "what": defect.summary,
        "correct": defect.expected,
        "cause": defect.cause,
        "panics in": defect.panics_in,
        "fixed in": defect.releases or "no release",
        "fix": defect.reference if defect.commit else "",
        "note": defect.note,
        "reported": defect.reported,
        "source": ", ".join(defect.files),
        "shown by": f"kvmprobe list --select defect:{defect.id}",
        "fatal": f"kvmprobe list --select hazard:{defect.id}" if defect.panics_in else "",
    }
    lines = [f"{defect.label()}: {defect.title}"]
    for name, text in fields.items():
        lines += textwrap.wrap(
            text,
            _WIDTH,
            initial_indent=f"  {name + ':':11}",
            subsequent_indent=" " * 13,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines
