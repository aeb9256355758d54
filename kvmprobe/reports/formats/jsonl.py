"""JSON lines: the run, its scenarios as they are recorded, its summary.

The file is valid up to its last complete line.  :mod:`kvmprobe.results.lines_schema` is its schema.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from kvmprobe.reports.report_format import ReportFormat
from kvmprobe.results.record_json import record_to_json
from kvmprobe.results.run_document import Ending, LineType
from kvmprobe.results.schema import LINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.run_document import RunDocument


def lines(runs: Iterable[RunDocument]) -> str:
    """Return the lines of all runs."""
    written: list[str] = []
    for run in runs:
        report = LinesReport(written.append, run.tool, run.command, run.planned)
        for record in run.records:
            report.add(record)
        report.finish(run.ending)
    return "".join(f"{line}\n" for line in written)


class LinesReport:
    """The lines of one run, written during the run."""

    def __init__(
        self,
        write: Callable[[str], None],
        tool: str,
        command: Sequence[str],
        planned: Iterable[str],
    ) -> None:
        """Write the line of the run.

        :param write: takes a line
        :param planned: ids of all planned scenarios
        """
        self._write = write
        self._left = Counter(planned)
        self._counts: Counter[str] = Counter()
        self._line(
            LineType.RUN,
            {
                "schema": LINES,
                "tool": tool,
                "command": list(command),
                "planned": self._left.total(),
            },
        )

    def add(self, record: ScenarioRecord) -> None:
        """Write the line of a scenario."""
        self._left[record.id] -= 1
        self._counts[record.verdict.value] += 1
        self._line(LineType.SCENARIO, {"source": record.target.source, **record_to_json(record)})

    def finish(self, ending: Ending) -> None:
        """Write the summary."""
        self._line(
            LineType.SUMMARY,
            {
                "complete": ending is Ending.COMPLETE,
                "not_completed": list(self._left.elements()),
                "counts": dict(self._counts),
            },
        )

    def _line(self, kind: LineType, content: dict[str, Any]) -> None:
        self._write(json.dumps({"type": kind.value, **content}, separators=(",", ":")))


FORMAT = ReportFormat(
    """\
a line for the run, one for each scenario, one for the summary,
which a run that was cut short lacks""",
    lines,
    lambda write, begun, planned: LinesReport(write, begun.tool, begun.command, planned),
)
