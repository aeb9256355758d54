import json
from dataclasses import replace

import pytest

from kvmprobe.results.record import (
    CallRecord,
    Crash,
    Divergence,
    Finding,
    ImageDifference,
    ScenarioRecord,
    StepRecord,
    Target,
)
from kvmprobe.results.verdict import Verdict
from kvmprobe.xstate.diff import DifferingRegion

DIVERGENCE = Divergence(1, "KVM_SET_XSAVE", "KVM_GET_XSAVE2", "a", "b", "rule", ("YMM, bytes 1-2",))
RECORD = ScenarioRecord(
    id="restore.x",
    row="x",
    column="",
    target=Target("host", "6.12.95", "this host"),
    verdict=Verdict.DIVERGED,
    steps=(
        StepRecord((CallRecord("KVM_CREATE_VM", 7),)),
        StepRecord(
            (
                CallRecord("KVM_SET_XSAVE", -22),
                CallRecord("KVM_GET_XSAVE2", 0, {"XSTATE_BV": 0x60000}),
                CallRecord("KVM_GET_XCRS", 0, {"XCR0": 1}),
            ),
            ("WARNING: something",),
        ),
    ),
    divergences=(DIVERGENCE, replace(DIVERGENCE, step=2)),
    known=("B1",),
    duration=0.00123456,
)


def test_a_record_is_json():
    assert json.loads(json.dumps(RECORD.to_json()))["id"] == "restore.x"


def test_the_first_divergence_stands_by_itself():
    assert RECORD.to_json()["divergence"]["step"] == 1


def test_all_divergences_are_listed():
    assert [d["step"] for d in RECORD.to_json()["divergences"]] == [1, 2]


def test_a_record_without_divergence_says_null():
    assert replace(RECORD, divergences=()).to_json()["divergence"] is None


def test_a_crash_is_written_out():
    crash = Crash(1, "KVM_RUN", "unexpected #NM", "exc_device_not_available", ("a", "b"), "text")
    assert replace(RECORD, crash=crash).to_json()["crash"]["function"] == "exc_device_not_available"


def test_bitmaps_are_hexadecimal():
    assert RECORD.to_json()["steps"][1]["observed"] == {"XSTATE_BV": "0x60000", "XCR0": "0x1"}


def test_each_step_has_the_results_of_all_its_calls():
    assert RECORD.to_json()["steps"][1]["results"] == [-22, 0, 0]


def test_each_step_has_what_the_kernel_said():
    assert RECORD.to_json()["steps"][1]["kernel_log"] == ["WARNING: something"]


def test_duration_is_in_seconds_to_the_microsecond():
    assert RECORD.to_json()["duration"] == 0.001235


def test_the_same_divergence_at_another_step_has_the_same_signature():
    assert DIVERGENCE.signature == replace(DIVERGENCE, step=9, rule="other").signature


@pytest.mark.parametrize("field", ["after", "call", "expected", "observed"])
def test_another_text_is_another_signature(field):
    assert DIVERGENCE.signature != replace(DIVERGENCE, **{field: "other"}).signature


def test_other_details_are_another_signature():
    assert DIVERGENCE.signature != replace(DIVERGENCE, details=()).signature


def test_findings_are_written_out_with_the_other_scenario():
    finding = Finding("order-independence", "INV-37", 3, "a and b", ("XMM",), "restore.y", ("O3",))
    (written,) = json.loads(json.dumps(replace(RECORD, findings=(finding,)).to_json()))["findings"]
    assert (written["checker"], written["other"], written["known"]) == (
        "order-independence",
        "restore.y",
        ["O3"],
    )


def test_the_label_stands_by_itself():
    # known-bugs B1: fixed in 6.12.67
    label = "DIVERGED: known, CVE-2026-23005 (B1), fixed in 6.12.67"
    assert RECORD.to_json()["label"] == label


def test_a_passes_label_is_its_verdict():
    assert replace(RECORD, verdict=Verdict.PASS, known=()).label == "PASS"


def test_a_step_says_what_a_correct_kernel_shows_where_that_is_something_else():
    call = CallRecord("KVM_GET_XCRS", 0, {"XCR0": 1, "b": 2}, {"XCR0": 7, "b": 2}, {"b": 8})
    step = replace(RECORD, steps=(StepRecord((call,)),)).to_json()["steps"][0]
    assert (step["expected"], step["undetermined"]) == ({"XCR0": "0x7"}, {"b": "0x8"})


def test_a_step_as_expected_says_no_more():
    call = CallRecord("KVM_GET_XCRS", 0, {"XCR0": 1}, {"XCR0": 1})
    step = replace(RECORD, steps=(StepRecord((call,)),)).to_json()["steps"][0]
    assert not {"expected", "undetermined"} & step.keys()


def test_a_differing_image_is_written_with_its_regions():
    region = DifferingRegion("YMM", 576, 256, ((580, 4),))
    divergence = replace(DIVERGENCE, image=ImageDifference(4096, (region,)))
    written = json.loads(json.dumps(replace(RECORD, divergences=(divergence,)).to_json()))
    assert written["divergence"]["image"] == {
        "size": 4096,
        "regions": [{"name": "YMM", "offset": 576, "size": 256, "runs": [[580, 4]]}],
    }
