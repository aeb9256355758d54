"""JUnit XML according to xunit2: one suite for each family on each target.

A divergence is a *failure*; a crash, a timeout or a bug in kvmprobe is an *error*; an expected
failure is *skipped*, as pytest writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from kvmprobe.reports.excerpt import (
    NOT_COMPLETED,
    at_most,
    failure_lines,
    headline,
    log_lines,
    printable,
)
from kvmprobe.reports.report_format import ReportFormat
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.results.run_document import RunDocument

_ELEMENTS = {
    Verdict.DIVERGED: "failure",
    Verdict.CRASHED: "error",
    Verdict.FAILED: "failure",
    Verdict.XFAIL: "skipped",
    Verdict.XPASS: "failure",
    Verdict.TIMED_OUT: "error",
    Verdict.SKIPPED: "skipped",
    Verdict.BROKEN: "error",
}
_CLASS = "kvmprobe"
_MOST_LOG_LINES = 200


def junit(runs: Iterable[RunDocument]) -> str:
    """Return the document."""
    top = ET.Element("testsuites", name=_CLASS)
    for run in runs:
        for (target, family), records in _suites(run.records).items():
            top.append(_suite(family, records, _properties(run, target)))
        if run.missing:
            top.append(_missing(run))
    ET.indent(top)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ET.tostring(top, encoding='unicode')}\n"


def _suites(
    records: Iterable[ScenarioRecord],
) -> dict[tuple[Target, str], list[ScenarioRecord]]:
    found: dict[tuple[Target, str], list[ScenarioRecord]] = {}
    for record in records:
        found.setdefault((record.target, record.family), []).append(record)
    return found


def _properties(run: RunDocument, target: Target | None) -> dict[str, str]:
    values = {"tool": run.tool, "command": " ".join(run.command), "ending": run.ending.value}
    if target:
        values |= {"target": target.kind, "kernel": target.kernel, "source": target.source}
        if target.variant.options:
            values["variant"] = target.variant.options
    return values


def _suite(
    family: str, records: Sequence[ScenarioRecord], properties: dict[str, str]
) -> ET.Element:
    kinds = [_ELEMENTS.get(record.verdict) for record in records]
    suite = _bare_suite(
        f"{_CLASS}.{family}",
        properties,
        tests=len(records),
        failures=kinds.count("failure"),
        errors=kinds.count("error"),
        skipped=kinds.count("skipped"),
    )
    suite.set("time", _seconds(sum(record.duration for record in records)))
    suite.extend([_case(record) for record in records])
    return suite


def _missing(run: RunDocument) -> ET.Element:
    """Return the suite of planned scenarios without a record."""
    names = run.missing
    suite = _bare_suite(
        f"{_CLASS}.not-completed",
        _properties(run, None),
        tests=len(names),
        failures=0,
        errors=len(names),
        skipped=0,
    )
    suite.set("time", _seconds(0))
    for name in names:
        case = ET.SubElement(suite, "testcase", classname=_CLASS, name=name, time=_seconds(0))
        ET.SubElement(case, "error", type="NOT_COMPLETED", message=NOT_COMPLETED)
    return suite


def _bare_suite(name: str, properties: dict[str, str], **counts: int) -> ET.Element:
    suite = ET.Element("testsuite", {"name": name} | {k: str(v) for k, v in counts.items()})
    of = ET.SubElement(suite, "properties")
    for key, value in properties.items():
        ET.SubElement(of, "property", name=key, value=printable(value))
    return suite


def _case(record: ScenarioRecord) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=f"{_CLASS}.{record.family}",
        name=record.id,
        time=_seconds(record.duration),
    )
    if element := _ELEMENTS.get(record.verdict):
        ended = ET.SubElement(
            case, element, type=record.verdict.value, message=headline(record) or NOT_COMPLETED
        )
        ended.text = "\n".join(failure_lines(record))
    if log := list(log_lines(record)):
        ET.SubElement(case, "system-out").text = "\n".join(at_most(log, _MOST_LOG_LINES))
    return case


def _seconds(duration: float) -> str:
    return f"{duration:.3f}"


FORMAT = ReportFormat(
    """\
xunit2, one suite for each family on each target; a crash is an
error, an expected failure is skipped; a run that was cut short
has a suite kvmprobe.not-completed""",
    junit,
)
