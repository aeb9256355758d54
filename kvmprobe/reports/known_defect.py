"""A known defect of the kernel as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.reports.entries import entry_lines

if TYPE_CHECKING:
    from kvmprobe.results.known import KnownDefect

_COLUMN = 13


def defect_lines(defect: KnownDefect) -> list[str]:
    """Return the lines: description, affected and fixed kernels, and commands that show it."""
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
    return [f"{defect.label()}: {defect.title}", *entry_lines(fields, _COLUMN)]
