"""KCIDB I/O v5.3, the format of KernelCI's database.

A kernel is a checkout and a build, a scenario is a test, a known defect is an issue, and a scenario
that shows it is an incident.  The id of a test contains the id of the run, so a run that is sent
twice is stored once.
:see: kcidb-io, kcidb_io/schema/v05_03.py
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from kvmprobe.reports.environment import brief_environment
from kvmprobe.reports.excerpt import (
    NOT_COMPLETED,
    failure_lines,
    headline,
    log_lines,
    printable,
)
from kvmprobe.reports.report_format import ReportFormat
from kvmprobe.results.known import by_id
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.results.run_document import RunDocument

ORIGIN = "kvmprobe"
VERSION = {"major": 5, "minor": 3}
LONGEST_EXCERPT = 16384
ISSUE_VERSION = 1
# Paths in KCIDB's tree of categories, which its schema leaves open.
_CATEGORY, _PANICS = "runtime.kvm", "runtime.oops"
# A status is about the tested code: FAIL means that it is faulty, by a known defect or not.
STATUSES = {
    Verdict.PASS: "PASS",
    Verdict.DIVERGED: "FAIL",
    Verdict.CRASHED: "FAIL",
    Verdict.FAILED: "FAIL",
    Verdict.XFAIL: "FAIL",
    Verdict.XPASS: "PASS",
    Verdict.TIMED_OUT: "ERROR",
    Verdict.SKIPPED: "SKIP",
    Verdict.BROKEN: "ERROR",
}
_MISSING = "MISS"


def kcidb(runs: Iterable[RunDocument]) -> str:
    """Return the report as JSON."""
    all_runs = list(runs)
    targets = list(dict.fromkeys(target for run in all_runs for target in run.targets))
    records = [record for run in all_runs for record in run.records]
    defects = sorted({defect for r in records for defect in (*r.known, *r.expected_defects)})
    report = {
        "version": VERSION,
        "checkouts": [_checkout(target) for target in targets],
        "builds": [_build(target) for target in targets],
        "tests": [test for run in all_runs for test in _tests(run, digest(run))],
        "issues": [_issue(defect) for defect in defects],
        "incidents": [incident for run in all_runs for incident in _incidents(run, digest(run))],
    }
    return json.dumps(report, indent=1) + "\n"


def digest(run: RunDocument) -> str:
    """Return the id of a run, or a hash of its command, scenarios and durations."""
    if run.run_id:
        return run.run_id
    what = [run.tool, *run.command, *(f"{r.target} {r.id} {r.duration}" for r in run.records)]
    return hashlib.sha256("\n".join(what).encode("utf-8", "replace")).hexdigest()[:16]


def _kernel_id(target: Target) -> str:
    kernel = f"{target.kernel} {target.source}".encode("utf-8", "replace")
    return f"{ORIGIN}:{hashlib.sha256(kernel).hexdigest()[:16]}"


def _checkout(target: Target) -> dict[str, Any]:
    return {
        "id": _kernel_id(target),
        "origin": ORIGIN,
        "comment": printable(f"{target.kernel} ({target.source or 'from an unknown source'})"),
        "valid": True,
    }


def _build(target: Target) -> dict[str, Any]:
    return {
        "id": _kernel_id(target),
        "checkout_id": _kernel_id(target),
        "origin": ORIGIN,
        "architecture": "x86_64",
        "comment": printable(target.kernel),
        "status": "PASS",
    }


def _tests(run: RunDocument, run_id: str) -> Iterator[dict[str, Any]]:
    for record in run.records:
        test = _test(run, run_id, record.id, record.target)
        log = "\n".join([*failure_lines(record), *log_lines(record)])
        yield test | {
            "status": STATUSES[record.verdict],
            "duration": round(record.duration, 6),
            "misc": {"verdict": record.verdict.value, "known": list(record.known)},
            **({"comment": headline(record)} if headline(record) else {}),
            **({"log_excerpt": log[:LONGEST_EXCERPT]} if log else {}),
        }
    # Without a target there is no build to which the tests could belong.
    for scenario in run.missing if run.targets else ():
        missing = {"status": _MISSING, "comment": NOT_COMPLETED}
        yield _test(run, run_id, scenario, run.targets[-1]) | missing


def _test(run: RunDocument, run_id: str, scenario: str, target: Target) -> dict[str, Any]:
    facts = run.environments.get(target, {})
    return {
        "id": _test_id(run_id, scenario, target),
        "build_id": _kernel_id(target),
        "origin": ORIGIN,
        "path": f"{ORIGIN}.{scenario}",
        "environment": {
            "comment": "emulated AMX host" if target.emulated else "this host",
            "misc": {
                "target": target.kind,
                "tool": run.tool,
                **({"variant": target.variant.options} if target.variant.options else {}),
                **brief_environment(facts),
            },
        },
        **({"input_files": files} if (files := facts.get("input_files")) else {}),
    }


def _test_id(run_id: str, scenario: str, target: Target) -> str:
    return f"{ORIGIN}:{run_id}/{target.kind}/{scenario}"


def _issue(defect: str) -> dict[str, Any]:
    known = by_id(defect)
    return {
        "id": f"{ORIGIN}:{known.id}",
        "version": ISSUE_VERSION,
        "origin": ORIGIN,
        "report_subject": known.title,
        "comment": f"{known.label()}; {known.reference}",
        "categories": [_CATEGORY, *([_PANICS] if known.panics_in else [])],
        "culprit": {"code": True, "tool": False, "harness": False},
    }


def _incidents(run: RunDocument, run_id: str) -> Iterator[dict[str, Any]]:
    """Yield the known defects that show, and the expected ones that do not."""
    for record in run.records:
        for defect in record.known:
            yield _incident(run_id, record, defect) | {"present": True}
        for defect in record.expected_defects:
            yield _incident(run_id, record, defect) | {"present": False}


def _incident(run_id: str, record: ScenarioRecord, defect: str) -> dict[str, Any]:
    test = _test_id(run_id, record.id, record.target)
    return {
        "id": f"{test}/{defect}",
        "origin": ORIGIN,
        "issue_id": f"{ORIGIN}:{defect}",
        "issue_version": ISSUE_VERSION,
        "test_id": test,
    }


FORMAT = ReportFormat(
    """\
KCIDB v5.3: kernels are builds, scenarios tests, known defects
issues with incidents; what a run that was cut short lacks has
the status MISS""",
    kcidb,
)
