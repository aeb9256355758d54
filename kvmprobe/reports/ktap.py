"""KTAP, nested: the run, its families, their scenarios.

The plan stands first and a family is written when its last scenario is recorded, so a file that
was cut short holds whole families, and says how many there should have been.
:see: Documentation/dev-tools/ktap.rst
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmprobe.reports.excerpt import (
    CUT_SHORT,
    NOT_COMPLETED,
    failure_lines,
    headline,
    printable,
)
from kvmprobe.results.run_document import Ending
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.results.run_document import RunDocument

VERSION = "KTAP version 1"
RUN_NAME = "kvmprobe"
_LEVEL = "  "
_RESULTS = {
    Verdict.PASS: ("ok", ""),
    Verdict.DIVERGED: ("not ok", ""),
    Verdict.CRASHED: ("not ok", "ERROR"),
    Verdict.XFAIL: ("ok", "XFAIL"),
    Verdict.XPASS: ("not ok", ""),
    Verdict.TIMED_OUT: ("not ok", "TIMEOUT"),
    Verdict.SKIPPED: ("ok", "SKIP"),
    Verdict.BROKEN: ("not ok", "ERROR"),
}


def ktap(runs: Iterable[RunDocument]) -> str:
    """Return a document of one test a run."""
    told = list(runs)
    lines = [VERSION, f"1..{len(told)}"]
    for number, run in enumerate(told, 1):
        report = KtapRun(lines.append, run.planned, number)
        for record in run.records:
            report.add(record)
        report.finish(run.ending)
    return "\n".join(lines) + "\n"


class KtapReport:
    """A document of one run, written while it goes on."""

    def __init__(self, write: Callable[[str], None], planned: Iterable[str]) -> None:
        """Begin it.

        :param write: takes a line
        :param planned: ids of all scenarios that should be recorded
        """
        write(VERSION)
        write("1..1")
        self._run = KtapRun(write, planned, 1)

    def add(self, record: ScenarioRecord) -> None:
        """Write the record's family if this was its last."""
        self._run.add(record)

    def finish(self, ending: Ending) -> None:
        """Write the other families, with what did not complete, and the run's result."""
        self._run.finish(ending)


class KtapRun:
    """One run as a test of its own: its families are its subtests, whose are the scenarios."""

    def __init__(self, write: Callable[[str], None], planned: Iterable[str], number: int) -> None:
        self._write = write
        self._number = number
        self._left = Counter(planned)
        self._open: dict[str, list[ScenarioRecord]] = {_family(i): [] for i in self._left}
        self._size = Counter(_family(i) for i in self._left.elements())
        self._targets: dict[Target, None] = {}
        self._closed = 0
        self._failed = 0
        self._line(1, VERSION)
        self._line(1, f"1..{len(self._open)}")

    def add(self, record: ScenarioRecord) -> None:
        """Take a scenario's record; those of a family may come in any order."""
        self._left[record.id] -= 1
        self._targets[record.target] = None
        self._open[record.family].append(record)
        if len(self._open[record.family]) == self._size[record.family]:
            self._close(record.family)

    def finish(self, ending: Ending) -> None:
        """Write what was left open, and the run's own result."""
        for family in list(self._open):
            self._close(family)
        for target in self._targets:
            self._diagnostic(0, f"{target.description} ({target.source})")
        why = f"{self._failed} of {self._closed} families failed" if self._failed else ""
        if ending is Ending.CUT_SHORT:
            self._result(0, "not ok", self._number, RUN_NAME, f"ERROR {CUT_SHORT}")
        else:
            self._result(0, "not ok" if why else "ok", self._number, RUN_NAME, why)

    def _close(self, family: str) -> None:
        records = self._open.pop(family)
        missing = [i for i in self._left.elements() if _family(i) == family]
        self._line(2, VERSION)
        self._line(2, f"1..{len(records) + len(missing)}")
        for number, record in enumerate(records, 1):
            self._scenario(number, record)
        for number, scenario in enumerate(missing, len(records) + 1):
            self._result(2, "not ok", number, scenario, f"ERROR {NOT_COMPLETED}")
        failed = sum(_RESULTS[record.verdict][0] != "ok" for record in records) + len(missing)
        skipped = all(record.verdict is Verdict.SKIPPED for record in records)
        self._closed += 1
        self._failed += bool(failed)
        if failed:
            why = f"{failed} of {len(records) + len(missing)} scenarios failed"
            self._result(1, "not ok", self._closed, family, why)
        else:
            self._result(1, "ok", self._closed, family, "SKIP all were" if skipped else "")

    def _scenario(self, number: int, record: ScenarioRecord) -> None:
        result, directive = _RESULTS[record.verdict]
        if result != "ok":
            for line in failure_lines(record):
                self._diagnostic(2, line)
        # A hash within the text could begin another directive.
        why = headline(record).replace("# ", "#")
        self._result(2, result, number, record.id, f"{directive} {why}".strip())

    def _result(self, level: int, result: str, number: int, name: str, why: str) -> None:
        self._line(level, f"{result} {number} {name}{f' # {why}' if why else ''}")

    def _diagnostic(self, level: int, text: str) -> None:
        # The extra blanks keep text like "Subtest: x" from being read as a header.
        self._line(level, f"#   {printable(text)}".rstrip())

    def _line(self, level: int, text: str) -> None:
        self._write(_LEVEL * level + text)


def _family(scenario: str) -> str:
    return scenario.partition(".")[0]
