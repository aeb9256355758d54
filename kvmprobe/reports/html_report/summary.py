"""The tables of the page that need no script: counts, kinds of failure, findings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmprobe.reports.claims import finding_text
from kvmprobe.reports.differences import shown, where
from kvmprobe.reports.values import call_text
from kvmprobe.results.known import by_id
from kvmprobe.results.verdict import LABELLED, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.reports.html_report.columns import Column
    from kvmprobe.results.record import ScenarioRecord

_REPORTED = LABELLED | {Verdict.FAILED, Verdict.TIMED_OUT, Verdict.XPASS, Verdict.BROKEN}


@dataclass(slots=True)
class Kind:
    """Failures with the same text and the same known defects, counted by column.

    :ivar title: titles of the known defects, or empty
    :ivar example: number of the column and id of one failure, a crash if there is one
    :ivar text: the first divergence, crash or finding in a few lines
    """

    verdict: Verdict
    known: tuple[str, ...]
    title: str
    text: tuple[str, ...]
    example: tuple[int, str]
    counts: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class Checker:
    """The findings of a checker that the same known defects explain, counted by column."""

    name: str
    invariants: dict[str, None]
    known: tuple[str, ...]
    text: str
    example: tuple[int, str]
    counts: Counter[int] = field(default_factory=Counter)


def verdict_counts(columns: Sequence[Column]) -> list[Counter[Verdict]]:
    """Return the number of each verdict in each column."""
    return [Counter(record.verdict for record in column.records) for column in columns]


def reasons_skipped(columns: Sequence[Column]) -> list[tuple[str, str, int]]:
    """Return column, reason and count of skipped scenarios."""
    return [
        (column.label, reason, count)
        for column in columns
        for reason, count in Counter(
            r.reason for r in column.records if r.verdict is Verdict.SKIPPED
        ).most_common()
    ]


def kinds_of_failure(columns: Sequence[Column]) -> list[Kind]:
    """Return the kinds of failure: unexplained ones first, then the most frequent."""
    kinds: dict[tuple[object, ...], Kind] = {}
    for number, column in enumerate(columns):
        for record in column.records:
            if record.verdict not in _REPORTED:
                continue
            text = _first_sign(record)
            key = (record.known, text)
            example = (number, record.id)
            kind = kinds.setdefault(
                key, Kind(record.verdict, record.known, _title(record), text, example)
            )
            if record.verdict is Verdict.CRASHED and kind.verdict is not Verdict.CRASHED:
                kind.verdict, kind.example = record.verdict, example
            kind.counts[number] += 1
    return sorted(kinds.values(), key=_urgency)


def _urgency(kind: Kind) -> tuple[bool, bool, int]:
    return bool(kind.known), kind.verdict is not Verdict.CRASHED, -kind.counts.total()


def _title(record: ScenarioRecord) -> str:
    return "; ".join(by_id(defect).title for defect in record.known)


def _first_sign(record: ScenarioRecord) -> tuple[str, ...]:
    if record.divergences:
        first = record.divergences[0]
        (after, call), text = where(first), shown(first.difference)
        return (f"{after}: {call}", f"expected {text.expected}", f"observed {text.observed}")
    if record.crash:
        return (call_text(record.crash.during), record.crash.headline)
    if record.findings:
        return (record.findings[0].checker, finding_text(record.findings[0]))
    return (record.reason or record.verdict.value,)


def checker_findings(columns: Sequence[Column]) -> list[Checker]:
    """Return the findings, by checker and known defects."""
    found: dict[tuple[str, tuple[str, ...]], Checker] = {}
    for number, column in enumerate(columns):
        for record in column.records:
            for finding in record.findings:
                example = (number, record.id)
                checker = found.setdefault(
                    (finding.checker, finding.known),
                    Checker(finding.checker, {}, finding.known, finding_text(finding), example),
                )
                checker.invariants[finding.invariant] = None
                checker.counts[number] += 1
    return sorted(found.values(), key=lambda o: (bool(o.known), o.name))
