import json
from dataclasses import replace

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.results.record import CallRecord, ImageDifference, StepRecord
from kvmprobe.results.record_json import record_from_json
from kvmprobe.results.verdict import Verdict
from kvmprobe.xstate.diff import DifferingRegion
from tests.support.runs import EVERY_VERDICT, O1_DIVERGENCE, OLD, diverged

BY_VERDICT = [pytest.param(r, id=r.id) for r in EVERY_VERDICT]


def written(record):
    return json.loads(json.dumps(record.to_json()))


@pytest.mark.parametrize("record", BY_VERDICT)
def test_a_record_read_back_is_written_as_before(record):
    assert record_from_json(written(record)).to_json() == record.to_json()


@pytest.mark.parametrize("record", BY_VERDICT)
def test_a_record_is_read_back_whole(record):
    assert record_from_json(written(record), record.target.source) == record


def test_what_is_to_be_drawn_is_read_back():
    region = DifferingRegion("YMM", 576, 256, ((580, 4), (600, 1)))
    divergence = replace(O1_DIVERGENCE, image=ImageDifference(4096, (region,)))
    call = CallRecord("KVM_GET_XCRS", 0, {"XCR0": 7}, {"XCR0": 3}, {"XCR0": 1})
    record = replace(diverged("restore.a", divergence=divergence), steps=(StepRecord((call,)),))
    assert record_from_json(written(record), record.target.source) == record


def test_a_record_of_before_there_was_anything_to_draw_is_read():
    data = written(diverged("restore.a"))
    for divergence in data["divergences"]:
        del divergence["image"]
    assert record_from_json(data).divergences[0].image is None


OBSERVED = StepRecord(
    (
        CallRecord("KVM_GET_FPU", 0, {"FCW": 0x37F, "FSW": 1}),
        CallRecord("KVM_GET_XSAVE2", 0, {"XSTATE_BV": 3, "FCW": 0x40}, {"FCW": 0x37F}, {"FSW": 1}),
        CallRecord("KVM_GET_XCRS", -22, {}, {"XCR0": 7}),
    )
)


def with_steps(*steps):
    return replace(diverged("restore.a"), steps=steps)


def test_every_call_is_read_back_with_what_it_read():
    data = written(with_steps(OBSERVED, OBSERVED))
    assert record_from_json(data).steps == (OBSERVED, OBSERVED)


def test_an_observer_is_written_once():
    data = written(with_steps(OBSERVED, OBSERVED))
    assert data["observers"] == [
        {"op": "KVM_GET_XSAVE2", "fields": ["XSTATE_BV", "FCW"]},
        {"op": "KVM_GET_XCRS", "fields": []},
    ]


def test_only_a_call_whose_values_the_names_do_not_tell_has_its_own():
    # KVM_GET_FPU and KVM_GET_XSAVE2 both read FCW; nothing read XCR0.
    (step,) = written(with_steps(OBSERVED))["steps"]
    assert sorted(step["own"]) == ["0", "1", "2"]
    apart = StepRecord((CallRecord("KVM_RUN", 0, {"A": 1}), CallRecord("KVM_GET", 0, {"B": 2})))
    (step,) = written(with_steps(apart))["steps"]
    assert "own" not in step


def test_a_step_of_before_observers_were_named_has_its_values_in_the_first_call():
    data = written(with_steps(OBSERVED))
    del data["observers"]
    for member in ("observers", "own"):
        del data["steps"][0][member]
    first, *others = record_from_json(data).steps[0].calls
    assert (first.text, first.fields) == ("KVM_GET_FPU", {"FCW": 0x40, "FSW": 1, "XSTATE_BV": 3})
    assert others == [CallRecord("", 0), CallRecord("", -22)]


def test_an_observer_that_the_record_does_not_have_is_refused():
    data = written(with_steps(OBSERVED))
    data["steps"][0]["observers"] = [0, 7]
    with pytest.raises(ScenarioError, match="the record of restore"):
        record_from_json(data)


def test_the_source_is_not_in_the_record():
    assert record_from_json(written(EVERY_VERDICT[0])).target.source == ""


@pytest.mark.parametrize("key", sorted(EVERY_VERDICT[0].to_json().keys() - {"label", "divergence"}))
def test_a_record_without_a_part_names_record_and_part(key):
    data = written(EVERY_VERDICT[0])
    del data[key]
    with pytest.raises(ScenarioError, match=f"'{key}' is missing"):
        record_from_json(data)


@pytest.mark.parametrize(
    "scenario", ["", "a b", "restore.<script>", "a..b", "a.b.", "../a", "a\n", "a#b"]
)
def test_an_id_with_other_characters_is_refused(scenario):
    with pytest.raises(ScenarioError, match="its id has other characters"):
        record_from_json(written(EVERY_VERDICT[0]) | {"id": scenario})


def test_an_unknown_verdict_is_refused():
    with pytest.raises(ScenarioError, match=r"restore\.a\.x.*GREAT"):
        record_from_json(written(EVERY_VERDICT[0]) | {"verdict": "GREAT"})


def test_a_defect_that_is_not_in_the_list_is_refused():
    with pytest.raises(ScenarioError, match="no known defect is called 'Z9'"):
        record_from_json(written(diverged("restore.a")) | {"known": ["Z9"]})


@pytest.mark.parametrize(
    "part",
    [
        {"steps": None},
        {"steps": [{"op": "x", "results": [1], "observed": {"a": "zz"}, "kernel_log": []}]},
        {"divergences": [{"step": 1, "details": []}]},
        {"crash": 7},
        {"duration": "long"},
    ],
    ids=str,
)
def test_a_malformed_part_is_refused_with_the_records_name(part):
    with pytest.raises(ScenarioError, match=r"the record of restore\.a\.x: "):
        record_from_json(written(EVERY_VERDICT[0]) | part)


def test_row_and_column_come_from_the_id():
    record = record_from_json(written(diverged("restore.row.col.umn", target=OLD)))
    assert (record.family, record.row, record.column) == ("restore", "row", "col.umn")


def test_the_verdict_is_typed():
    assert record_from_json(written(diverged("restore.a"))).verdict is Verdict.DIVERGED
