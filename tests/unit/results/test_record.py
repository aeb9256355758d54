import json
from dataclasses import replace

import pytest

from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import ImageDiffers, ResultDiffers, RunOfBytes
from kvmprobe.results.record import (
    CallRecord,
    Crash,
    Divergence,
    Finding,
    ScenarioRecord,
    Statement,
    StepRecord,
    Target,
)
from kvmprobe.results.record_json import record_to_json
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.lifecycle import CreateVm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.xstate.diff import DifferingRegion
from tests.support.runs import RULE

YMM = RunOfBytes("YMM", 576, 2, b"\1\2", b"\3\4")
IMAGE = ImageDiffers(832, 7, 7, (YMM,))
DIVERGENCE = Divergence(1, SetXsave(7), GetXsave2(), IMAGE, RULE)
ORDER = Statement(Claim.ORDER_MATTERS, {}, (SetXsave(7), SetXfd(0)))
RECORD = ScenarioRecord(
    id="restore.x",
    row="x",
    column="",
    target=Target("host", "6.12.95", "this host"),
    verdict=Verdict.DIVERGED,
    steps=(
        StepRecord((CallRecord(CreateVm(), 7),)),
        StepRecord(
            (
                CallRecord(SetXsave(7), -22),
                CallRecord(GetXsave2(), 0, {"XSTATE_BV": 0x60000}),
                CallRecord(GetXcrs(), 0, {"XCR0": 1}),
            ),
            ("WARNING: something",),
        ),
    ),
    divergences=(DIVERGENCE, replace(DIVERGENCE, step=2)),
    known=("B1",),
    duration=0.00123456,
)


def test_a_record_is_json():
    assert json.loads(json.dumps(record_to_json(RECORD)))["id"] == "restore.x"


def test_all_divergences_are_listed():
    assert [d["step"] for d in record_to_json(RECORD)["divergences"]] == [1, 2]


def test_a_crash_is_written_out():
    crash = Crash(
        1, RunUntilHalt(), "unexpected #NM", "exc_device_not_available", ("a", "b"), "text"
    )
    assert (
        record_to_json(replace(RECORD, crash=crash))["crash"]["function"]
        == "exc_device_not_available"
    )


def test_bitmaps_are_hexadecimal():
    calls = record_to_json(RECORD)["steps"][1]["calls"]
    assert [call.get("observed") for call in calls] == [
        None,
        {"XSTATE_BV": "0x60000"},
        {"XCR0": "0x1"},
    ]


def test_each_step_has_the_results_of_all_its_calls():
    calls = record_to_json(RECORD)["steps"][1]["calls"]
    assert [call["result"] for call in calls] == [-22, 0, 0]


def test_each_step_has_what_the_kernel_said():
    assert record_to_json(RECORD)["steps"][1]["kernel_log"] == ["WARNING: something"]


def test_duration_is_in_seconds_to_the_microsecond():
    assert record_to_json(RECORD)["duration"] == 0.001235


def test_the_same_divergence_at_another_step_has_the_same_signature():
    assert DIVERGENCE.signature == replace(DIVERGENCE, step=9).signature


def test_a_reworded_rule_leaves_the_signature_as_it_was():
    # A signature is compared with that of a run of another version of kvmprobe.
    reworded = replace(DIVERGENCE, rule=replace(RULE, statement="the same in other words"))
    assert DIVERGENCE.signature == reworded.signature


@pytest.mark.parametrize(
    "part",
    [
        {"after": SetXsave(3)},
        {"call": GetXcrs()},
        {"difference": replace(IMAGE, observed_xstate_bv=3)},
        {"difference": replace(IMAGE, runs=(replace(YMM, observed=b"\3\5"),))},
        {"difference": ResultDiffers(0, -22)},
    ],
    ids=["op", "call", "value", "byte", "kind"],
)
def test_another_value_is_another_signature(part):
    assert DIVERGENCE.signature != replace(DIVERGENCE, **part).signature


def test_findings_are_written_out_with_the_other_scenario():
    finding = Finding("order-independence", "INV-37", 3, ORDER, (), "restore.y", ("O3",))
    (written,) = json.loads(json.dumps(record_to_json(replace(RECORD, findings=(finding,)))))[
        "findings"
    ]
    assert (written["checker"], written["other"], written["known"]) == (
        "order-independence",
        "restore.y",
        ["O3"],
    )


def test_the_label_stands_by_itself():
    # known-bugs B1: fixed in 6.12.67
    label = "DIVERGED: known, CVE-2026-23005 (B1), fixed in 6.12.67"
    assert record_to_json(RECORD)["label"] == label


def test_a_passes_label_is_its_verdict():
    assert replace(RECORD, verdict=Verdict.PASS, known=()).label == "PASS"


def test_a_step_says_what_a_correct_kernel_shows_where_that_is_something_else():
    call = CallRecord(GetXcrs(), 0, {"XCR0": 1, "b": 2}, {"XCR0": 7}, {"b": 8})
    step = record_to_json(replace(RECORD, steps=(StepRecord((call,)),)))["steps"][0]
    (written,) = step["calls"]
    assert (written["expected"], written["undetermined"]) == ({"XCR0": "0x7"}, {"b": "0x8"})


def test_a_step_as_expected_says_no_more():
    call = CallRecord(GetXcrs(), 0, {"XCR0": 1})
    step = record_to_json(replace(RECORD, steps=(StepRecord((call,)),)))["steps"][0]
    assert not {"expected", "undetermined"} & step["calls"][0].keys()


def test_a_differing_image_is_written_with_its_regions():
    region = DifferingRegion("YMM", 576, 256, ((580, 4),))
    image = replace(IMAGE, regions=(region,))
    written = record_to_json(replace(RECORD, divergences=(replace(DIVERGENCE, difference=image),)))
    assert json.loads(json.dumps(written))["divergences"][0]["difference"] == {
        "kind": "ImageDiffers",
        "size": 832,
        "expected_xstate_bv": 7,
        "observed_xstate_bv": 7,
        "runs": [
            {"where": "YMM", "offset": 576, "size": 2, "expected": "0102", "observed": "0304"}
        ],
        "regions": [{"name": "YMM", "offset": 576, "size": 256, "runs": [[580, 4]]}],
    }


@pytest.mark.parametrize("values", [{}, {"bits": "x"}, {"bits": 1, "surplus": 2}])
def test_a_statement_has_just_the_values_of_its_claim(values):
    with pytest.raises(ValueError, match="wrong values for xtile-alone"):
        Statement(Claim.XTILE_ALONE, values)
