"""Reviews of recordings for programs: JSON, JUnit XML, SARIF 2.1.0."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from kvmprobe import __version__
from kvmprobe.reports.excerpt import printable
from kvmprobe.reports.vmm_replay import sentence
from kvmprobe.reports.vmm_review import counts
from kvmprobe.results.codec import to_json
from kvmprobe.vmm.findings import At, Finding, Level
from kvmprobe.vmm.replay import Replay
from kvmprobe.vmm.replay_findings import Found, ReplayFinding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmprobe.vmm.review import Review

SCHEMA = "kvmprobe-judgement/1"
_FAILS = (Level.ERROR, Level.WARNING)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The review of one recording for one kernel.

    :ivar recording: path of the file
    :ivar kernel: what it was judged for
    """

    recording: str
    kernel: str
    review: Review

    @property
    def fails(self) -> bool:
        """True if there is more than notes."""
        return any(finding.level in _FAILS for finding in self.review.findings)


def rule_of(finding: Found) -> str:
    """Return the kind of a finding: ``not-restored``."""
    return _rule(type(finding).__name__)


def _rule(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def line_of(finding: Found) -> int:
    """Return the line in the recording that a finding is shown at: of its first call."""
    calls = (getattr(finding, name) for name in finding.__dataclass_fields__)
    return min(call.line for call in calls if isinstance(call, At))


def as_json(judgements: Sequence[Judgement]) -> str:
    """Return all of it."""
    found = [
        {
            "recording": one.recording,
            "kernel": one.kernel,
            "calls": one.review.calls,
            "judged": one.review.judged,
            "not_judged": _counted(one.review.not_judged),
            **_of_replay(one.review),
            "findings_left_out": one.review.left_out,
            "findings": [
                {
                    "rule": rule_of(finding),
                    "level": finding.level.value,
                    "line": line_of(finding),
                    "text": sentence(finding, one.kernel),
                    **to_json(type(finding), finding),
                }
                for finding in one.review.findings
            ],
        }
        for one in judgements
    ]
    return json.dumps({"schema": SCHEMA, "tool": __version__, "judgements": found}, indent=1)


def _counted(calls_of: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    return [
        {"call": call, "why": why, "count": number}
        for (call, why), number in sorted(calls_of.items())
    ]


def _of_replay(review: Review) -> dict[str, Any]:
    if not isinstance(review, Replay):
        return {}
    return {
        "replayed": review.replayed,
        "compared": review.compared,
        "not_replayed": _counted(review.not_replayed),
        "not_compared": _counted(review.not_compared),
    }


def as_junit(judgements: Sequence[Judgement]) -> str:
    """Return JUnit XML: a suite for each recording and kernel, a test for each vCPU and rule."""
    top = ET.Element("testsuites", name="kvmprobe judge")
    for one in judgements:
        cases: dict[tuple[str, str], list[Found]] = {}
        for finding in one.review.findings:
            cases.setdefault((finding.vcpu, rule_of(finding)), []).append(finding)
        failures = [group for group in cases.values() if group[0].level in _FAILS]
        suite = ET.SubElement(
            top,
            "testsuite",
            name=printable(f"{one.recording} on {one.kernel}"),
            tests=str(len(cases) + 1),
            failures=str(len(failures)),
            errors="0",
            skipped="0",
        )
        for (vcpu, rule), group in cases.items():
            case = ET.SubElement(suite, "testcase", classname=printable(vcpu), name=rule)
            texts = [printable(sentence(finding, one.kernel)) for finding in group]
            if group in failures:
                failed = ET.SubElement(case, "failure", type=rule, message=texts[0])
                failed.text = "\n".join(texts)
            else:
                ET.SubElement(case, "system-out").text = "\n".join(texts)
        summary = ET.SubElement(suite, "testcase", classname="kvmprobe", name="judged")
        ET.SubElement(summary, "system-out").text = counts(one.review)
    ET.indent(top)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ET.tostring(top, encoding='unicode')}\n"


def as_sarif(judgements: Sequence[Judgement]) -> str:
    """Return SARIF 2.1.0 (OASIS): a result for each finding, at its line of the recording."""
    rules = [_sarif_rule(kind) for kind in _KINDS]
    results = [
        {
            "ruleId": rule_of(finding),
            "level": finding.level.value,
            "message": {"text": f"{one.kernel}: {finding.vcpu}: {sentence(finding, one.kernel)}"},
            "locations": [_location(one.recording, line_of(finding))],
            "properties": {"kernel": one.kernel},
        }
        for one in judgements
        for finding in one.review.findings
    ]
    run = {
        "tool": {"driver": {"name": "kvmprobe", "version": __version__, "rules": rules}},
        "results": results,
    }
    document = {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=1)


_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_KINDS: tuple[type[Found], ...] = (*Finding.__args__, *ReplayFinding.__args__)


def _sarif_rule(kind: type[Found]) -> dict[str, Any]:
    described = (kind.__doc__ or "").partition("\n\n")[0]
    return {"id": _rule(kind.__name__), "shortDescription": {"text": " ".join(described.split())}}


def _location(path: str, line: int) -> dict[str, Any]:
    place = {"artifactLocation": {"uri": quote(path)}, "region": {"startLine": line}}
    return {"physicalLocation": place}
