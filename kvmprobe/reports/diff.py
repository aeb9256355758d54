"""The differences between two runs, for a terminal and as Markdown for a merge request.

For each kind of change, failures are grouped by known defects, then by signature.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from kvmprobe.reports.excerpt import NOT_COMPLETED, head_lines, headline, place, printable
from kvmprobe.results.comparison import Change, Comparison, signature
from kvmprobe.results.known import by_id, label
from kvmprobe.results.run_document import Ending
from kvmprobe.results.verdict import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmprobe.results.comparison import Compared, DefectChange
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.run_document import RunDocument

_HEADINGS = {
    Change.NEW_FAILURE: "New failures",
    Change.CHANGED: "Changed: a different failure",
    Change.FIXED: "Fixed",
    Change.UNCHANGED: "Unchanged failures",
    Change.MISSING: "Missing: did not run again",
    Change.NEW_SCENARIO: "New scenarios",
}
_PLAIN = (Change.MISSING, Change.NEW_SCENARIO)
_LISTED_IDS = 12
_LISTED_AS_BEFORE = 3
# Characters that are markup in Markdown or HTML.
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~&])")


def diff_lines(compared: Comparison) -> Iterator[str]:
    """Yield the comparison as text."""
    yield f"before: {_run(compared.before)}"
    yield f"after:  {_run(compared.after)}"
    if defects := compared.defects:
        yield ""
        yield "known defects, by the scenarios that show them"
        for defect in defects:
            counts = f"{len(defect.before)} -> {len(defect.after)}"
            yield f"  {defect.id:4} {defect.becomes.value:12} {counts:10}  {_label(defect)}"
    for change, heading in _HEADINGS.items():
        if found := compared.having(change):
            yield ""
            yield f"{heading}: {len(found)}"
            for group in _groups(change, found):
                yield from _text_of(group)
    yield ""
    yield verdict(compared)


def diff_markdown(compared: Comparison) -> Iterator[str]:
    """Yield the comparison as Markdown."""
    yield f"### kvmprobe: {_escaped(verdict(compared))}"
    yield ""
    yield f"* before: {_escaped(_run(compared.before))}"
    yield f"* after: {_escaped(_run(compared.after))}"
    if defects := compared.defects:
        yield ""
        yield "| known defect | | before | after | |"
        yield "|---|---|---:|---:|---|"
        for defect in defects:
            counts = f"{len(defect.before)} | {len(defect.after)}"
            what = f"**{defect.becomes.value}** | {counts} | {_escaped(_label(defect))}"
            yield f"| {defect.id} | {what} |"
    for change, heading in _HEADINGS.items():
        if found := compared.having(change):
            yield ""
            yield f"#### {heading}: {len(found)}"
            for group in _groups(change, found):
                yield from _markdown_of(group)


def verdict(compared: Comparison) -> str:
    """Return the result of the comparison in one line."""
    counts = Counter(scenario.change for scenario in compared.scenarios)
    text = ", ".join(f"{counts[c]} {c.value}" for c in Change if counts[c]) or "no difference"
    return f"{'REGRESSION' if compared.regressed else 'no regression'}: {text}"


def _run(run: RunDocument) -> str:
    parts = counted(Counter(record.verdict for record in run.records))
    if run.not_completed:
        parts.append(f"{len(run.not_completed)} {NOT_COMPLETED}")
    where = "; ".join(map(place, run.targets)) or "nothing ran"
    ending = f" [{run.ending.value}]" if run.ending is Ending.CUT_SHORT else ""
    return printable(f"{where}: {', '.join(parts)}{ending}")


def _label(defect: DefectChange) -> str:
    known = by_id(defect.id)
    left = len(defect.not_again)
    return f"{f'{left} did not run again; ' if left else ''}{known.label()}: {known.title}"


def _groups(change: Change, found: Iterable[Compared]) -> list[list[Compared]]:
    """Group by known defects and signature; missing and new scenarios by verdict."""
    groups: dict[tuple[object, ...], list[Compared]] = {}
    for scenario in found:
        failing = scenario.failing
        if change in _PLAIN or failing is None:
            key: tuple[object, ...] = (_plain(scenario),)
        else:
            before = scenario.before.known if scenario.before else ()
            key = (failing.known, before, signature(failing))
        groups.setdefault(key, []).append(scenario)
    return sorted(groups.values(), key=lambda group: _what(group[0]))


def _plain(scenario: Compared) -> str:
    record = scenario.after or scenario.before
    return record.label if record else ""


def _what(scenario: Compared) -> str:
    """Return the heading of a group: known defects, or the verdict."""
    if scenario.change in _PLAIN or scenario.failing is None:
        return _plain(scenario)
    if scenario.change is Change.CHANGED and scenario.before and scenario.after:
        return f"{_known(scenario.before)} -> {_known(scenario.after)}"
    return _known(scenario.failing)


def _known(record: ScenarioRecord) -> str:
    return label(record.known, record.target.kernel)


def _shown(scenario: Compared) -> list[str]:
    """Return the lines that show the failure of one scenario of a group."""
    record = scenario.failing
    if record is None or scenario.change in _PLAIN:
        return []
    if not record.divergences:
        return [headline(record)]
    return [printable(line) for line in head_lines(record.divergences[0])]


def _text_of(group: Sequence[Compared]) -> Iterator[str]:
    yield f"  {len(group)}  {printable(_what(group[0]))}"
    yield from (f"    {line}" for line in _shown(group[0]))
    as_before = group[0].change is Change.UNCHANGED
    listed = _LISTED_AS_BEFORE if as_before else _LISTED_IDS
    yield from (f"      {_line(scenario)}" for scenario in group[:listed])
    if len(group) > listed:
        yield f"      and {len(group) - listed} more"


def _markdown_of(group: Sequence[Compared]) -> Iterator[str]:
    yield ""
    yield f"**{len(group)}** {_escaped(printable(_what(group[0])))}"
    if shown := _shown(group[0]):
        yield ""
        yield from (f"    {line}" for line in shown)
    yield ""
    noun = "scenario" if len(group) == 1 else "scenarios"
    yield f"<details><summary>{len(group)} {noun}</summary>"
    yield ""
    yield from (f"* `{_line(scenario)}`" for scenario in group)
    yield ""
    yield "</details>"


def _line(scenario: Compared) -> str:
    """Return the verdicts and the id of a scenario."""
    verdicts = [r.verdict.value for r in (scenario.before, scenario.after) if r]
    return f"{' -> '.join(dict.fromkeys(verdicts))}  {scenario.id}"


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)
