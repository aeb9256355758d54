"""The HTML page as a report format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.reports.report_format import ReportFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.results.run_document import RunDocument


def html(runs: Sequence[RunDocument]) -> str:
    """Return the page."""
    # Imported late: jinja2 is only needed for this.
    from kvmprobe.reports.html_report.page import page  # noqa: PLC0415

    return page(runs)


FORMAT = ReportFormat(
    """\
one self-contained page; COLUMN/SCENARIO after # in its address
opens one record""",
    html,
    shows_steps=True,
)
