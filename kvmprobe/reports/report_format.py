"""Report formats; each module in ``reports/formats`` defines one as FORMAT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.run_document import Ending, RunDocument

    Write = Callable[[str], None]
    """Appends text, and a newline."""
    Renderer = Callable[[Sequence[RunDocument]], str]
    Starter = Callable[[Write, RunDocument, Sequence[str]], "LiveReport"]


class LiveReport(Protocol):
    """A report that is written during its run."""

    def add(self, record: ScenarioRecord) -> None:
        """Add the record of one scenario."""

    def finish(self, ending: Ending) -> None:
        """Write the end of the run."""


@dataclass(frozen=True, slots=True)
class ReportFormat:
    """One format.

    :ivar summary: its description for the help; lines of at most 64 characters
    :ivar render: returns the report of finished runs
    :ivar start: starts a report that is written during its run; takes the run without its records,
        and the ids of all planned scenarios; None if the report is written at the end
    :ivar shows_steps: whether it shows the steps of scenarios that passed
    """

    summary: str
    render: Renderer
    start: Starter | None = None
    shows_steps: bool = False

    def live(self, write: Write, begun: RunDocument, planned: Sequence[str]) -> LiveReport:
        """Start the report of a run.

        :param begun: the run without its records; its environments may be added later
        :param planned: ids of all planned scenarios
        """
        if self.start is not None:
            return self.start(write, begun, planned)
        return _AtTheEnd(self, write, begun, planned)


class _AtTheEnd:
    """Keeps the records until the run ends, then writes the report."""

    def __init__(
        self, wanted: ReportFormat, write: Write, begun: RunDocument, planned: Sequence[str]
    ) -> None:
        self._wanted = wanted
        self._write = write
        self._begun = begun
        self._left = dict.fromkeys(planned)
        self._records: list[ScenarioRecord] = []

    def add(self, record: ScenarioRecord) -> None:
        self._left.pop(record.id, None)
        shown = self._wanted.shows_steps or any(step.kernel_log for step in record.steps)
        self._records.append(record if shown else replace(record, steps=()))

    def finish(self, ending: Ending) -> None:
        run = replace(
            self._begun,
            records=tuple(self._records),
            not_completed=tuple(self._left),
            ending=ending,
        )
        self._write(self._wanted.render([run]).removesuffix("\n"))
