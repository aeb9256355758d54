"""The formats for programs, and the page for people, made of a run, over or going on."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from kvmprobe.reports.junit import junit
from kvmprobe.reports.kcidb import kcidb
from kvmprobe.reports.ktap import KtapReport, ktap
from kvmprobe.reports.lines import LinesReport, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.run_document import Ending, RunDocument


class Format(Enum):
    """What ``kvmprobe report`` writes."""

    KTAP = "ktap"
    JUNIT = "junit"
    KCIDB = "kcidb"
    JSONL = "jsonl"
    HTML = "html"


class LiveReport(Protocol):
    """A report that is written while its run goes on."""

    def add(self, record: ScenarioRecord) -> None:
        """Take one scenario's record."""

    def finish(self, ending: Ending) -> None:
        """Take the end of the run."""


def _html(runs: Sequence[RunDocument]) -> str:
    # jinja2 is loaded only for this.
    from kvmprobe.reports.html_report.page import page  # noqa: PLC0415

    return page(runs)


_RENDERERS: dict[Format, Callable[[Sequence[RunDocument]], str]] = {
    Format.KTAP: ktap,
    Format.JUNIT: junit,
    Format.KCIDB: kcidb,
    Format.JSONL: lines,
    Format.HTML: _html,
}
_SHOW_STEPS = frozenset({Format.HTML})


def rendered(wanted: Format, runs: Sequence[RunDocument]) -> str:
    """Return the whole report of runs."""
    return _RENDERERS[wanted](runs)


def live(
    wanted: Format, write: Callable[[str], None], begun: RunDocument, planned: Sequence[str]
) -> LiveReport:
    """Begin a report of a run that begins.

    :param write: takes text to append, without its last newline
    :param begun: the run without its records; its environments may still come to be known
    :param planned: ids of all scenarios that should be recorded
    """
    match wanted:
        case Format.KTAP:
            return KtapReport(write, planned)
        case Format.JSONL:
            return LinesReport(write, begun.tool, begun.command, planned)
        case Format.JUNIT | Format.KCIDB | Format.HTML:
            # These are one document with its counts in front.
            return _AtTheEnd(wanted, write, begun, planned)


class _AtTheEnd:
    """Keeps the records, and writes all when the run is over."""

    def __init__(
        self,
        wanted: Format,
        write: Callable[[str], None],
        begun: RunDocument,
        planned: Sequence[str],
    ) -> None:
        self._wanted = wanted
        self._write = write
        self._begun = begun
        self._left = dict.fromkeys(planned)
        self._records: list[ScenarioRecord] = []

    def add(self, record: ScenarioRecord) -> None:
        self._left.pop(record.id, None)
        shown = self._wanted in _SHOW_STEPS or any(step.kernel_log for step in record.steps)
        self._records.append(record if shown else replace(record, steps=()))

    def finish(self, ending: Ending) -> None:
        run = replace(
            self._begun,
            records=tuple(self._records),
            not_completed=tuple(self._left),
            ending=ending,
        )
        self._write(rendered(self._wanted, [run]).removesuffix("\n"))
