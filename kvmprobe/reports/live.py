"""Prints failures during a run: the first one of a kind in full, the others in one line."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmprobe.reports.console import Printed, brief, details, kind_of, print_lines, show
from kvmprobe.reports.printing import Known, Printing
from kvmprobe.results.verdict import FAILURES, Verdict, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from kvmprobe.results.record import ScenarioRecord

_FAILED = FAILURES | {Verdict.BROKEN}
_COUNTED = "more scenarios with the same known defect are counted, not listed"


class Live:
    """Prints one run.

    :ivar tally: called with the failures so far, ``2 DIVERGED, 1 CRASHED``; the caller sets it
    """

    def __init__(self, console: Console, printing: Printing) -> None:
        self.tally: Callable[[str], None] = _nowhere
        self._console = console
        self._printing = printing
        self._counts: Counter[Verdict] = Counter()
        self._in_full: dict[tuple[object, ...], str] = {}
        self._labels: set[tuple[object, str]] = set()

    def add(self, record: ScenarioRecord) -> None:
        """Print a record, if its verdict is selected."""
        if record.verdict in _FAILED:
            self._counts[record.verdict] += 1
            self.tally(", ".join(counted(self._counts)))
        if record.verdict not in self._printing.verdicts:
            return
        if record.verdict not in _FAILED:
            print_lines(self._console, [brief(record)])
        elif record.explained and self._printing.known is not Known.AS_OTHERS:
            self._condense(record)
        else:
            self._print_failure(record)

    def finish(self, records: Sequence[ScenarioRecord], seconds: float) -> None:
        """Print the results, without details that have been printed before."""
        show(self._console, records, seconds, self.printed)

    def printed(self, record: ScenarioRecord) -> Printed:
        """Return whether the details of such a failure have been printed, or will not be."""
        only_counted = record.explained and self._printing.known is Known.COUNTED
        if only_counted or record.verdict not in self._printing.verdicts:
            return Printed.NEVER
        return Printed.IN_FULL if kind_of(record) in self._in_full else Printed.NOT_YET

    def _condense(self, record: ScenarioRecord) -> None:
        """Print one line for the first record with a label."""
        key = (record.target, record.label)
        if self._printing.known is Known.CONDENSED and key not in self._labels:
            self._labels.add(key)
            print_lines(self._console, [brief(record).append(f"; {_COUNTED}")])

    def _print_failure(self, record: ScenarioRecord) -> None:
        kind = kind_of(record)
        if kind in self._in_full:
            print_lines(self._console, [brief(record).append(f"; as {self._in_full[kind]}")])
        else:
            self._in_full[kind] = record.id
            print_lines(self._console, details(record))


def _nowhere(_text: str) -> None:
    return
