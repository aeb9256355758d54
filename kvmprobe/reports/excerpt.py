"""A failure in lines of text that every format can contain.

Unprintable characters in text from a target are replaced, so that it cannot break a format or
move the cursor of a terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.reports.claims import finding_details, finding_text
from kvmprobe.reports.differences import shown, where
from kvmprobe.reports.hangs import hang_lines
from kvmprobe.reports.values import call_text, rule_text
from kvmprobe.results.known import by_id
from kvmprobe.results.verdict import LABELLED, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.results.record import Crash, Divergence, Finding, ScenarioRecord, Target

NOT_COMPLETED = "did not complete"
CUT_SHORT = "the run was cut short"
_MOST_DETAILS = 6
_REPLACEMENT = "\ufffd"


def at_most(lines: Sequence[str], most: int, what: str = "lines") -> list[str]:
    """Return the first lines, and how many more there are: ``... 3 more lines``."""
    left = len(lines) - most
    return [*lines[:most], *([f"... {left} more {what}"] if left > 0 else [])]


def printable(text: str) -> str:
    """Return a line with control characters, surrogates and unassigned characters replaced."""
    return "".join(c if c.isprintable() else _REPLACEMENT for c in text.replace("\t", " "))


def place(target: Target) -> str:
    """Return the target, its kernel and the kernel's source, if the run has it."""
    source = f" ({target.source})" if target.source else ""
    return printable(f"{target.description}{source}")


def headline(record: ScenarioRecord) -> str:
    """Return one line: known defects, crash, reason; empty for a pass."""
    parts = [record.standing] if record.standing else []
    if record.crash:
        parts.append(crash_text(record.crash))
    if record.reason:
        parts.append(record.reason.splitlines()[-1])
    if not parts and record.verdict is not Verdict.PASS:
        parts.append(record.verdict.value)
    return printable("; ".join(parts))


def failure_lines(record: ScenarioRecord) -> list[str]:
    """Return known defects, the first divergence, findings, crash, hang and reason."""
    lines = [
        f"known, {defect.label(record.target.kernel)}: {defect.title}"
        for defect in map(by_id, record.known)
    ]
    if not record.known and record.is_judged and record.verdict in LABELLED:
        lines.append("not known: no combination of known defects predicts this")
    if record.divergences:
        lines += divergence_lines(record.divergences[0])
        if more := len(record.divergences) - 1:
            lines.append(f"  and {more} more divergences, which may be consequences of this one")
    for finding in record.unexplained:
        lines += finding_lines(finding)
    if record.crash:
        lines += crash_lines(record.crash)
    if record.hang:
        lines += hang_lines(record.hang)
    lines += record.reason.splitlines()
    return [printable(line) for line in lines]


def log_lines(record: ScenarioRecord) -> Iterator[str]:
    """Yield the messages of the kernel by step, then the report of its crash.

    The other functions do not use the steps of a record.
    """
    for number, step in enumerate(record.steps):
        for line in step.kernel_log:
            yield printable(f"step {number}: {line}")
    if record.crash:
        yield from map(printable, record.crash.report.splitlines())


def divergence_lines(found: Divergence) -> list[str]:
    """Return a divergence: call, expected and observed values, differences and rule."""
    text = shown(found.difference)
    return [
        *head_lines(found),
        *(f"    {detail}" for detail in text.details),
        f"    rule:     {rule_text(found.rule, found.read_by)}",
    ]


def head_lines(found: Divergence) -> list[str]:
    """Return a divergence: call, expected and observed values."""
    after, call = where(found)
    text = shown(found.difference)
    return [
        f"step {found.step}: {after}",
        f"  {call}",
        f"    expected: {text.expected}",
        f"    observed: {text.observed}",
    ]


def finding_lines(found: Finding) -> list[str]:
    """Return a finding, the scenario of the comparison, and the differences."""
    lines = [f"step {found.step}: {found.checker} ({found.invariant}): {finding_text(found)}"]
    if found.other:
        lines.append(f"  there: {found.other}")
    details = at_most(finding_details(found), _MOST_DETAILS, "differences")
    return [*lines, *(f"    {detail}" for detail in details)]


def crash_text(crash: Crash) -> str:
    """Return in one line that the host died, or which task the kernel killed."""
    who = f"the kernel killed {crash.victim}" if crash.victim else "the host died"
    return f"{who}: {crash.headline}"


def crash_lines(crash: Crash) -> list[str]:
    """Return a crash: call, headline, function and its callers."""
    return [
        f"step {crash.step}: {call_text(crash.during)}",
        f"  {crash_text(crash)}",
        f"    in {crash.function or 'an unknown function'}",
        *(f"       {frame}" for frame in crash.frames),
    ]
