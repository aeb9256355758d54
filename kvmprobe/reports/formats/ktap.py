"""KTAP, nested: runs, families, scenarios.

The plan is written first, and a family when its last scenario is recorded.  So a truncated file has
complete families, and the number of families that should follow.
:see: Documentation/dev-tools/ktap.rst
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.reports.excerpt import (
    CUT_SHORT,
    NOT_COMPLETED,
    failure_lines,
    headline,
    place,
    printable,
)
from kvmprobe.reports.report_format import ReportFormat
from kvmprobe.results.run_document import Ending
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.scenario_id import family_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kvmprobe.reports.report_format import Write
    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.results.run_document import RunDocument

VERSION = "KTAP version 1"
RUN_NAME = "kvmprobe"
_LEVEL = "  "
_RESULTS = {
    Verdict.PASS: ("ok", ""),
    Verdict.DIVERGED: ("not ok", ""),
    Verdict.CRASHED: ("not ok", "ERROR"),
    Verdict.FAILED: ("not ok", ""),
    Verdict.XFAIL: ("ok", "XFAIL"),
    Verdict.XPASS: ("not ok", ""),
    Verdict.TIMED_OUT: ("not ok", "TIMEOUT"),
    Verdict.SKIPPED: ("ok", "SKIP"),
    Verdict.BROKEN: ("not ok", "ERROR"),
}


def ktap(runs: Iterable[RunDocument]) -> str:
    """Return a document with one test for each run."""
    all_runs = list(runs)
    lines = [VERSION, f"1..{len(all_runs)}"]
    for number, run in enumerate(all_runs, 1):
        planned = [*(record.id for record in run.records), *run.missing]
        report = KtapRun(lines.append, planned, number)
        for record in run.records:
            report.add(record)
        report.finish(run.ending)
    return "\n".join(lines) + "\n"


def _start(write: Write, _begun: RunDocument, planned: Sequence[str]) -> KtapRun:
    """Start a document of one run, which is written during the run."""
    write(VERSION)
    write("1..1")
    return KtapRun(write, planned, 1)


class KtapRun:
    """One run as a test; its subtests are families, whose subtests are scenarios."""

    def __init__(self, write: Callable[[str], None], planned: Iterable[str], number: int) -> None:
        self._write = write
        self._number = number
        self._left = Counter(planned)
        self._open: dict[str, list[ScenarioRecord]] = {family_of(i): [] for i in self._left}
        self._size = Counter(family_of(i) for i in self._left.elements())
        self._targets: dict[Target, None] = {}
        self._families = len(self._open)
        self._failed = 0
        write("\n".join(_indented(1, [VERSION, f"1..{self._families}"])))

    def add(self, record: ScenarioRecord) -> None:
        """Add a record; the records of a family may come in any order."""
        self._left[record.id] -= 1
        self._targets[record.target] = None
        # Steps are not shown, and would take memory.
        self._open[record.family].append(replace(record, steps=()))
        if len(self._open[record.family]) == self._size[record.family]:
            self._close(record.family)

    def finish(self, ending: Ending) -> None:
        """Write the families that are not complete, and the result of the run."""
        for family in list(self._open):
            self._close(family)
        for target in self._targets:
            self._write(_diagnostic(place(target)))
        why = f"{self._failed} of {self._families} families failed" if self._failed else ""
        if ending is Ending.CUT_SHORT:
            self._write(_result("not ok", self._number, RUN_NAME, f"ERROR {CUT_SHORT}"))
        else:
            self._write(_result("not ok" if why else "ok", self._number, RUN_NAME, why))

    def _close(self, family: str) -> None:
        """Write a family with one call, so that the file never ends within it."""
        records = self._open.pop(family)
        missing = [i for i in self._left.elements() if family_of(i) == family]
        count = len(records) + len(missing)
        lines = [VERSION, f"1..{count}"]
        for number, record in enumerate(records, 1):
            lines += _scenario(number, record)
        for number, scenario in enumerate(missing, len(records) + 1):
            lines.append(_result("not ok", number, scenario, f"ERROR {NOT_COMPLETED}"))
        failed = sum(_RESULTS[record.verdict][0] != "ok" for record in records) + len(missing)
        self._failed += bool(failed)
        closed = self._families - len(self._open)
        failure = f"{failed} of {count} scenarios failed" if failed else ""
        totals = [
            _family_result(closed, family, records, failure),
            # kunit.py of Linux 6.12 fails on a file that ends with the result of a subtest.
            _diagnostic(f"{closed} of {self._families} families"),
        ]
        self._write("\n".join((*_indented(2, lines), *_indented(1, totals))))


def _family_result(
    number: int, family: str, records: Iterable[ScenarioRecord], failure: str
) -> str:
    if failure:
        return _result("not ok", number, family, failure)
    skipped = all(record.verdict is Verdict.SKIPPED for record in records)
    return _result("ok", number, family, "SKIP all scenarios were skipped" if skipped else "")


def _scenario(number: int, record: ScenarioRecord) -> list[str]:
    result, directive = _RESULTS[record.verdict]
    shown = [_diagnostic(line) for line in failure_lines(record)] if result != "ok" else []
    # Another "# " in the text could be read as a directive.
    why = headline(record).replace("# ", "#")
    return [*shown, _result(result, number, record.id, f"{directive} {why}".strip())]


def _result(result: str, number: int, name: str, why: str) -> str:
    return f"{result} {number} {name}{f' # {why}' if why else ''}"


def _diagnostic(text: str) -> str:
    # With the additional spaces, text like "Subtest: x" is not read as a header.
    return f"#   {printable(text)}".rstrip()


def _indented(level: int, lines: Iterable[str]) -> list[str]:
    return [_LEVEL * level + line for line in lines]


FORMAT = ReportFormat(
    """\
run, families, scenarios nested; # SKIP, # XFAIL, # TIMEOUT,
# ERROR, also for what a run that was cut short lacks""",
    ktap,
    _start,
)
