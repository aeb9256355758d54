"""The results of a run for a terminal: short on success, exact on failure."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING

from rich.text import Text

from kvmprobe.reports.excerpt import at_most, failure_lines, printable
from kvmprobe.reports.findings import finding_counts
from kvmprobe.reports.table import table
from kvmprobe.results.comparison import signature
from kvmprobe.results.known import by_id
from kvmprobe.results.verdict import FAILURES, LABELLED, Verdict, counted
from kvmprobe.scenarios.relations import base_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

    from kvmprobe.results.record import ScenarioRecord, Target

    Line = str | Text

_STYLES = {
    Verdict.PASS: "green",
    Verdict.DIVERGED: "red",
    Verdict.CRASHED: "bold red",
    Verdict.FAILED: "red",
    Verdict.XFAIL: "yellow",
    Verdict.XPASS: "bold red",
    Verdict.TIMED_OUT: "magenta",
    Verdict.SKIPPED: "dim",
    Verdict.BROKEN: "bold magenta",
}
_LOG_LINES = 24
_LISTED_IDS = 12
# Families whose ids have an order and a variant, and so fit into a table.
_MATRICES = frozenset({"restore", "kick"})


class Printed(Enum):
    """Whether the details of a failure have been printed during the run."""

    NOT_YET = "no"
    IN_FULL = "yes"
    NEVER = "no, and they are not wanted"


def show(
    console: Console,
    records: Sequence[ScenarioRecord],
    seconds: float,
    printed: Callable[[ScenarioRecord], Printed] = lambda _: Printed.NOT_YET,
) -> None:
    """Print the results of a run: tables and details of failures, then the summary."""
    failed = [r for r in records if r.verdict in FAILURES or r.verdict is Verdict.BROKEN]
    for target, family in dict.fromkeys((r.target, r.family) for r in failed):
        of_family = [r for r in records if (r.target, r.family) == (target, family)]
        shown = [r for r in of_family if not base_id(r.id)]
        if family in _MATRICES and shown:
            heading = f"{family} orders on {target.description} ({target.source})"
            print_lines(console, ["", heading, *table(shown)])
    if failed:
        print_lines(console, ["", *_families(records)])
    for first, *others in _kinds(failed):
        match printed(first):
            case Printed.NOT_YET:
                print_lines(console, [*details(first), *_others(others)])
            case Printed.IN_FULL if others:
                lead = brief(first).append("; shown above")
                print_lines(console, ["", lead, *_others(others)])
            case Printed.IN_FULL | Printed.NEVER:
                pass
    print_lines(console, finding_counts(records))
    print_lines(console, _advice(failed))
    print_lines(console, _skips(records))
    print_lines(console, _summary(records, seconds))


def print_lines(console: Console, lines: Iterable[Line]) -> None:
    """Print lines as they are, neither interpreted as markup nor wrapped."""
    for line in lines:
        console.print(line if isinstance(line, Text) else Text(line), soft_wrap=True)


def _families(records: Sequence[ScenarioRecord]) -> list[str]:
    """Count the verdicts of each family on each target."""
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
    """Group failures by signature and known defects; a crash is the first in its group."""
    kinds: dict[tuple[object, ...], list[ScenarioRecord]] = {}
    for record in failed:
        kinds.setdefault(_sign(record), []).append(record)
    return [sorted(kind, key=lambda r: r.verdict is not Verdict.CRASHED) for kind in kinds.values()]


def kind_of(record: ScenarioRecord) -> tuple[object, ...]:
    """Return a key; of records with the same key, the details of one are enough."""
    return (*_sign(record), record.verdict is Verdict.CRASHED)


def _sign(record: ScenarioRecord) -> tuple[object, ...]:
    return (record.target, record.known, signature(record))


def _others(alike: Sequence[ScenarioRecord]) -> list[str]:
    """List the scenarios that failed in the same way as the one that is shown in full."""
    if not alike:
        return []
    lines = [f"  the same divergence in {len(alike)} more:"]
    lines += [f"    {record.verdict.value:9} {record.id}" for record in alike[:_LISTED_IDS]]
    if len(alike) > _LISTED_IDS:
        rest = len(alike) - _LISTED_IDS
        lines.append(f"    and {rest} others; the table and --json FILE have all of them")
    return lines


def brief(record: ScenarioRecord) -> Text:
    """Return a record in one line: verdict, id, target, and known defects or the reason."""
    reason, *_ = record.reason.splitlines() or [""]
    duration = f"{record.duration:.3f} s" if record.verdict is Verdict.PASS else ""
    why = record.standing or duration or reason
    return _head(record).append(f"  {why}" if why else "")


def _head(record: ScenarioRecord) -> Text:
    return _verdict(record.verdict).append(f"  {record.id}  on {record.target.description}")


def _verdict(verdict: Verdict) -> Text:
    return Text.assemble((verdict.value, _STYLES[verdict]))


def details(record: ScenarioRecord) -> list[Line]:
    """Return the lines of a failed scenario, with the messages of the kernel."""
    lines: list[Line] = ["", _head(record)]
    lines += [f"  {line}" for line in failure_lines(record)]
    step = record.divergences[0].step if record.divergences else len(record.steps)
    log = record.steps[step].kernel_log if step < len(record.steps) else ()
    lines += [f"      kernel:   {printable(line)}" for line in log]
    if record.crash:
        console = at_most(record.crash.report.splitlines(), _LOG_LINES)
        lines += ["      its console:", *(f"        {printable(line)}" for line in console)]
    return lines


def _advice(failed: Iterable[ScenarioRecord]) -> list[str]:
    seen = dict.fromkeys(defect for record in failed for defect in record.known)
    open_defects = [by_id(defect) for defect in seen if by_id(defect).status == "open"]
    return [f"\n{d.id} ({d.status}): {d.reference}" for d in open_defects]


def _skips(records: Iterable[ScenarioRecord]) -> list[Text]:
    reasons: Counter[tuple[Target, str]] = Counter(
        (r.target, r.reason) for r in records if r.verdict is Verdict.SKIPPED
    )
    return [
        _verdict(Verdict.SKIPPED).append(f"  {count} on {target.description}: {reason}")
        for (target, reason), count in reasons.items()
    ]


def _summary(records: Sequence[ScenarioRecord], seconds: float) -> list[Line]:
    lines: list[Line] = []
    for target in dict.fromkeys(r.target for r in records):
        counts = Counter(r.verdict for r in records if r.target == target)
        parts = [Text(f"{counts[v]} {v.value}", style=_STYLES[v]) for v in Verdict if counts[v]]
        lines.append(Text(f"{target.description} ({target.source}): ") + Text(", ").join(parts))
        labelled = Counter(r.label for r in records if r.target == target and r.verdict in LABELLED)
        lines += [f"  {count} {label}" for label, count in labelled.items()]
    if records:
        noun = "scenario" if len(records) == 1 else "scenarios"
        lines.append(f"{len(records)} {noun} in {seconds:.1f} s")
    return lines
