"""The formats for programs, and the page for people, made of a run, over or going on."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from kvmprobe import __version__
from kvmprobe.reports.junit import junit
from kvmprobe.reports.kcidb import kcidb
from kvmprobe.reports.ktap import KtapReport, ktap
from kvmprobe.reports.lines import LinesReport, lines
from kvmprobe.results.run_document import Ending, RunDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmprobe.results.record import ScenarioRecord


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
    wanted: Format, write: Callable[[str], None], command: Sequence[str], planned: Sequence[str]
) -> LiveReport:
    """Begin a report of a run that begins.

    :param write: takes text to append, without its last newline
    :param command: the command line of the run
    :param planned: ids of all scenarios that should be recorded
    """
    tool = f"kvmprobe {__version__}"
    match wanted:
        case Format.KTAP:
            return KtapReport(write, planned)
        case Format.JSONL:
            return LinesReport(write, tool, command, planned)
        case Format.JUNIT | Format.KCIDB | Format.HTML:
            # These are one document with its counts in front.
            return _AtTheEnd(wanted, write, RunDocument(tool, tuple(command)), planned)


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
        run = RunDocument(
            self._begun.tool,
            self._begun.command,
            tuple(self._records),
            tuple(self._left),
            ending,
        )
        self._write(rendered(self._wanted, [run]).removesuffix("\n"))
