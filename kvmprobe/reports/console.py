"""The run on a terminal: quiet on success, exact on failure."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING

from rich.text import Text

from kvmprobe.reports.excerpt import crash_lines, divergence_lines
from kvmprobe.reports.findings import finding_lines, unexplained_lines
from kvmprobe.reports.hangs import hang_lines
from kvmprobe.reports.table import table
from kvmprobe.results.known import by_id
from kvmprobe.results.verdict import FAILURES, LABELLED, Verdict, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

    from kvmprobe.results.record import Crash, Divergence, ScenarioRecord, Target

_STYLES = {
    Verdict.PASS: "green",
    Verdict.DIVERGED: "red",
    Verdict.CRASHED: "bold red",
    Verdict.XFAIL: "yellow",
    Verdict.XPASS: "bold red",
    Verdict.TIMED_OUT: "magenta",
    Verdict.SKIPPED: "dim",
    Verdict.BROKEN: "bold magenta",
}
_LOG_LINES = 24
_LISTED_IDS = 12
# Families whose ids are an order and a variant, and so make a table.
_MATRICES = frozenset({"restore", "kick"})


class Printed(Enum):
    """Whether a failure's details have been printed before the end of a run."""

    NOT_YET = "no"
    IN_FULL = "yes"
    NEVER = "no, and they are not wanted"


def show(
    console: Console,
    records: Sequence[ScenarioRecord],
    seconds: float,
    printed: Callable[[ScenarioRecord], Printed] = lambda _: Printed.NOT_YET,
) -> None:
    """Print what a run found: tables and details where something failed, then the summary."""
    failed = [r for r in records if r.verdict in FAILURES or r.verdict is Verdict.BROKEN]
    for target, family in dict.fromkeys((r.target, r.family) for r in failed):
        shown = [r for r in records if (r.target, r.family) == (target, family)]
        if family in _MATRICES:
            heading = f"{family} orders on {target.description} ({target.source})"
            print_lines(console, ["", heading, *table(shown)])
    if failed:
        print_lines(console, ["", *_families(records)])
    for first, *others in _kinds(failed):
        match printed(first):
            case Printed.NOT_YET:
                print_lines(console, [*details(first), *_others(others)])
            case Printed.IN_FULL if others:
                print_lines(console, ["", f"{brief(first)}; shown above", *_others(others)])
            case Printed.IN_FULL | Printed.NEVER:
                pass
    print_lines(console, finding_lines(records))
    print_lines(console, _advice(failed))
    print_lines(console, _skips(records))
    for line in _summary(records, seconds):
        console.print(line, soft_wrap=True)


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Print lines as they are, neither marked up nor wrapped; colour a verdict at the start."""
    for line in lines:
        text = Text(line)
        for verdict in Verdict:
            if line.startswith(verdict.value + "  "):
                text.stylize(_STYLES[verdict], 0, len(verdict.value))
        console.print(text, soft_wrap=True)


def _families(records: Sequence[ScenarioRecord]) -> list[str]:
    """Count verdicts by family, on each target."""
    lines = []
    for target in dict.fromkeys(r.target for r in records):
        counts: dict[str, Counter[Verdict]] = {}
        for record in records:
            if record.target == target:
                counts.setdefault(record.family, Counter())[record.verdict] += 1
        width = max(map(len, counts))
        lines.append(f"families on {target.description}")
        for family, of in counts.items():
            lines.append(f"  {family:{width}}  {', '.join(counted(of))}")
    return lines


def _kinds(failed: Iterable[ScenarioRecord]) -> list[list[ScenarioRecord]]:
    """Group by what diverged first and by what is known of it; a crash goes first in its group."""
    kinds: dict[tuple[object, ...], list[ScenarioRecord]] = {}
    for record in failed:
        kinds.setdefault(_sign(record), []).append(record)
    return [sorted(kind, key=lambda r: r.verdict is not Verdict.CRASHED) for kind in kinds.values()]


def kind_of(record: ScenarioRecord) -> tuple[object, ...]:
    """Return what records have in common for which the details of one are enough."""
    return (*_sign(record), record.verdict is Verdict.CRASHED)


def _sign(record: ScenarioRecord) -> tuple[object, ...]:
    return (record.target, record.known, _first_sign(record))


def _first_sign(record: ScenarioRecord) -> str:
    if record.divergences:
        return record.divergences[0].signature
    if record.findings:
        return record.findings[0].signature
    return record.reason


def _others(alike: Sequence[ScenarioRecord]) -> list[str]:
    """List scenarios that diverged in the same way as one shown in full."""
    if not alike:
        return []
    lines = [f"  the same divergence in {len(alike)} more:"]
    lines += [f"    {record.verdict.value:9} {record.id}" for record in alike[:_LISTED_IDS]]
    if len(alike) > _LISTED_IDS:
        rest = len(alike) - _LISTED_IDS
        lines.append(f"    and {rest} others; the table shows which, --json FILE has each")
    return lines


def brief(record: ScenarioRecord) -> str:
    """Return a record in one line: verdict, id, place; what is known, or else the reason."""
    head = _head(record)
    if record.standing:
        return f"{head}  {record.standing}"
    if record.verdict is Verdict.PASS:
        return f"{head}  {record.duration:.3f} s"
    reason, *_ = record.reason.splitlines() or [""]
    return f"{head}  {reason}" if reason else head


def _head(record: ScenarioRecord) -> str:
    return f"{record.verdict.value}  {record.id}  on {record.target.description}"


def details(record: ScenarioRecord) -> list[str]:
    """Return one failed scenario's lines."""
    lines = ["", _head(record)]
    lines += [
        f"  known, {defect.label(record.target.kernel)}: {defect.title}"
        for defect in map(by_id, record.known)
    ]
    if not record.known and record.verdict in LABELLED:
        lines.append("  not known: no combination of known defects predicts this")
    if record.divergences:
        lines += _divergence(record.divergences[0], record)
        if len(record.divergences) > 1:
            more = len(record.divergences) - 1
            lines.append(f"    and {more} more divergences, which may be consequences of this one")
    lines += unexplained_lines(record)
    if record.crash:
        lines += _crash(record.crash)
    if record.hang:
        lines += [f"  {line}" for line in hang_lines(record.hang)]
    if record.reason:
        lines += [f"  {line}" for line in record.reason.splitlines()]
    return lines


def _divergence(found: Divergence, record: ScenarioRecord) -> list[str]:
    lines = [f"  {line}" for line in divergence_lines(found)]
    log = record.steps[found.step].kernel_log if found.step < len(record.steps) else ()
    return lines + [f"      kernel:   {line}" for line in log]


def _crash(crash: Crash) -> list[str]:
    report = crash.report.splitlines()
    return [
        *(f"  {line}" for line in crash_lines(crash)),
        "      its console:",
        *(f"        {line}" for line in report[:_LOG_LINES]),
        *(
            [f"        ... {len(report) - _LOG_LINES} more lines"]
            if len(report) > _LOG_LINES
            else []
        ),
    ]


def _advice(failed: Iterable[ScenarioRecord]) -> list[str]:
    seen = dict.fromkeys(defect for record in failed for defect in record.known)
    open_defects = [by_id(defect) for defect in seen if by_id(defect).status == "open"]
    return [f"\n{d.id} ({d.status}): {d.reference}" for d in open_defects]


def _skips(records: Iterable[ScenarioRecord]) -> list[str]:
    reasons: Counter[tuple[Target, str]] = Counter(
        (r.target, r.reason) for r in records if r.verdict is Verdict.SKIPPED
    )
    return [
        f"SKIPPED  {count} on {target.description}: {reason}"
        for (target, reason), count in reasons.items()
    ]


def _summary(records: Sequence[ScenarioRecord], seconds: float) -> list[Text]:
    lines = []
    for target in dict.fromkeys(r.target for r in records):
        counts = Counter(r.verdict for r in records if r.target == target)
        text = Text(f"{target.description} ({target.source}): ")
        parts = [Text(f"{counts[v]} {v.value}", style=_STYLES[v]) for v in Verdict if counts[v]]
        lines.append(text + Text(", ").join(parts))
        labelled = Counter(r.label for r in records if r.target == target and r.verdict in LABELLED)
        lines += [Text(f"  {count} {text}") for text, count in labelled.items()]
    if records:
        noun = "scenario" if len(records) == 1 else "scenarios"
        lines.append(Text(f"{len(records)} {noun} in {seconds:.1f} s"))
    return lines
