"""A replay as text, JSON, JUnit and SARIF."""

import json
from xml.etree import ElementTree as ET

import pytest

from kvmprobe.reports.vmm_files import Judgement, as_json, as_junit, as_sarif
from kvmprobe.reports.vmm_replay import sentence
from kvmprobe.reports.vmm_review import review_lines
from kvmprobe.results.difference import ValuesDiffer
from kvmprobe.results.trace import End
from kvmprobe.vmm.findings import At
from kvmprobe.vmm.replay import Replay
from kvmprobe.vmm.replay_findings import (
    Cause,
    FailsHere,
    GivesOtherwise,
    HostDied,
    KernelReports,
    NotAsModelled,
    Reason,
    ReplayEnded,
    ReturnsOtherwise,
    StoppedBefore,
)
from tests.support.replays import Answers, replay_of, with_result

RUN = At(43, "KVM_RUN")
KERNEL = "6.12.43, replayed on the emulated host"


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (
            FailsHere("v", At(3, "KVM_SET_XCRS"), 0, -22, Reason(Cause.HOST)),
            "KVM_SET_XCRS (line 3) returns -EINVAL (22), in the recording 0: this host's processor",
        ),
        (
            FailsHere("v", At(3, "KVM_SET_MSRS"), 4, 3, Reason(Cause.NOT_MODELLED), 0xDA0),
            "KVM_SET_MSRS (line 3) returns 3 (it ends at XSS), in the recording 4: the model has",
        ),
        (
            ReturnsOtherwise("v", RUN, 0, 1, Reason(Cause.KERNEL, ("SET_XSAVE_KEEPS_XFD_ARMED",))),
            "in the recording 0: the kernels differ: known defect CVE-2026-23005 (B1)",
        ),
        (
            GivesOtherwise(
                "v", RUN, ValuesDiffer({"XCR0": 7}, {"XCR0": 1, "tpr": 2}), Reason(Cause.EARLIER)
            ),
            "reads otherwise: XCR0 0x7 (FP|SSE|YMM) -> 0x1 (FP), tpr none -> 0x2: a call before it",
        ),
        (
            NotAsModelled("v", RUN, ValuesDiffer({"XCR0": 7}, {"XCR0": 1}), ()),
            "KVM_RUN (line 43): XCR0=0x1 (FP), where the model expects XCR0=0x7 (FP|SSE|YMM); not",
        ),
        (
            HostDied("v", RUN, "Oops", ("B1",)),
            "the host died in KVM_RUN (line 43): Oops; known, CVE-2026-23005 (B1), fixed in 6.12",
        ),
        (KernelReports("v", RUN, "WARNING: x"), "the kernel logged during KVM_RUN (line 43): WARN"),
        (ReplayEnded("v", RUN, "timeout"), "the replay ended in KVM_RUN (line 43): timeout"),
        (StoppedBefore("v", RUN, ()), "can panic this host (by the state that was read back)"),
    ],
)
def test_each_finding_has_a_sentence(finding, text):
    assert text in sentence(finding, KERNEL)


@pytest.fixture
def judgement(tmp_path):
    change = with_result("KVM_SET_XCRS", -22)
    replay = replay_of(
        "vmm.kselftest.no-tiles", "7.3.4", Answers("7.3.4", end=End.DONE, change=change), tmp_path
    )
    return Judgement("r.jsonl", KERNEL, replay)


def test_findings_that_differ_in_their_line_alone_are_one_line():
    notes = [ReturnsOtherwise("v", At(n, "KVM_RUN"), 0, 1, Reason(Cause.HOST)) for n in (3, 5)]
    [line] = [one for one in review_lines(Replay(notes), KERNEL) if "KVM_RUN (" in one]
    assert "KVM_RUN (lines 3, 5) returns 1" in line


def test_the_counts_say_what_was_compared(judgement):
    *_, last = review_lines(judgement.review, KERNEL)
    replayed = judgement.review.replayed
    assert f"{replayed} replayed, compared {judgement.review.compared} with the recording" in last


def test_json_has_what_was_left_out(judgement):
    [document] = json.loads(as_json([judgement]))["judgements"]
    assert document["replayed"] == judgement.review.replayed
    assert {one["call"] for one in document["not_compared"]} >= {"KVM_RUN"}
    assert "fails-here" in {one["rule"] for one in document["findings"]}


def test_junit_fails_for_it(judgement):
    suites = ET.fromstring(as_junit([judgement]))  # noqa: S314 - our own
    assert {one.get("type") for one in suites.iter("failure")} == {"fails-here", "not-as-modelled"}


def test_sarif_knows_the_rules(judgement):
    [run] = json.loads(as_sarif([judgement]))["runs"]
    known = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {one["ruleId"] for one in run["results"]} <= known
