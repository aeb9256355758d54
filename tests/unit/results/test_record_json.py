import json
from dataclasses import replace

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import (
    BytesDiffer,
    EntryDiffers,
    ExitDiffers,
    HostSurvives,
    KernelTainted,
    KernelWarns,
    RegisterDiffers,
    ResultDiffers,
    TableDiffers,
    ValuesDiffer,
)
from kvmprobe.results.record import CallRecord, Finding, ReadingsDiffer, Statement, StepRecord
from kvmprobe.results.record_json import record_from_json, record_to_json
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.fpu import GetFpu
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.xstate.cpuid import CpuidEntry, Register
from tests.support.runs import EVERY_VERDICT, O1_DIVERGENCE, OLD, RULE, diverged

BY_VERDICT = [pytest.param(r, id=r.id) for r in EVERY_VERDICT]


def written(record):
    return json.loads(json.dumps(record_to_json(record)))


@pytest.mark.parametrize("record", BY_VERDICT)
def test_a_record_read_back_is_written_as_before(record):
    assert record_to_json(record_from_json(written(record))) == record_to_json(record)


@pytest.mark.parametrize("record", BY_VERDICT)
def test_a_record_is_read_back_whole(record):
    assert record_from_json(written(record), record.target.source) == record


FINDING = Finding(
    "order-independence",
    "INV-37",
    3,
    Statement(Claim.ORDER_MATTERS, {}, (SetXsave(3), SetXfd(0))),
    (
        ReadingsDiffer(GetXcrs(), ValuesDiffer({"XCR0": 1}, {"XCR0": 7})),
        Statement(Claim.FPU_FIELD, {"field": "FCW", "fpu": "7f03", "xsave": "0000"}),
    ),
    "restore.b",
    ("O3",),
)
ENTRY = CpuidEntry(0xD, 1, 1, 15, 0, 0, 0)


@pytest.mark.parametrize(
    "difference",
    [
        ResultDiffers(None, -12),
        ExitDiffers(0, 9, 0x8000_0021),
        ValuesDiffer({"XCR0": 7}, {}),
        BytesDiffer(3, b"\1", b""),
        TableDiffers((RegisterDiffers(0xD, 0, Register.EBX, 832, 576),), (36, 35)),
        TableDiffers((EntryDiffers(ENTRY, ENTRY._replace(ebx=1)),)),
        HostSurvives("#NM", 0),
        KernelWarns("WARNING: x"),
        KernelTainted(1 << 9),
    ],
    ids=lambda difference: type(difference).__name__,
)
def test_every_difference_is_read_back(difference):
    divergence = replace(O1_DIVERGENCE, difference=difference, read_by=RULE)
    record = diverged("restore.a", divergence=divergence)
    assert record_from_json(written(record), record.target.source) == record


def test_a_finding_is_read_back_with_its_values():
    record = replace(diverged("restore.a"), findings=(FINDING,))
    assert record_from_json(written(record)).findings == (FINDING,)


OBSERVED = StepRecord(
    (
        CallRecord(GetFpu(), 0, {"FCW": 0x37F, "FSW": 1}),
        CallRecord(GetXsave2(), 0, {"XSTATE_BV": 3, "FCW": 0x40}, {"FCW": 0x37F}, {"FSW": 1}),
        CallRecord(GetXcrs(), -22, {}, {"XCR0": 7}),
    )
)


def with_steps(*steps):
    return replace(diverged("restore.a"), steps=steps)


def test_every_call_is_read_back_with_what_it_read():
    data = written(with_steps(OBSERVED, OBSERVED))
    assert record_from_json(data).steps == (OBSERVED, OBSERVED)


def test_an_op_is_written_once():
    data = written(with_steps(OBSERVED, OBSERVED))
    usual = {"vcpu": "vcpu0", "by": ""}
    assert data["ops"] == [
        {"op": "get-fpu"},
        {"op": "get-xsave2", **usual},
        {"op": "get-xcrs", **usual},
    ]


@pytest.mark.parametrize("number", [3, -1, True, "0", None])
def test_an_op_that_the_record_does_not_have_is_refused(number):
    data = written(with_steps(OBSERVED))
    data["steps"][0]["calls"][1]["op"] = number
    with pytest.raises(
        ScenarioError, match=r"the record of restore.*\$\.steps\[0\]\.calls\[1\]\.op"
    ):
        record_from_json(data)


@pytest.mark.parametrize(
    "op",
    [{"op": "no-such-op"}, {"op": "set-xcrs", "xcr0": "<b>"}, {"op": "set-xcrs"}, [], 7],
    ids=str,
)
def test_an_op_that_is_none_is_refused(op):
    data = written(with_steps(OBSERVED)) | {"ops": [op]}
    with pytest.raises(ScenarioError, match=r"the record of restore.*\$\.ops\[0\]"):
        record_from_json(data)


@pytest.mark.parametrize(
    ("member", "value", "path"),
    [
        ("step", "1", "step"),
        ("surplus", 1, "surplus"),
        ("difference", {"kind": "Unheard"}, "difference.kind"),
        ("difference", {"kind": "ResultDiffers", "expected": 1}, "'observed' is missing"),
        ("difference", {"kind": "ValuesDiffer", "expected": {"a": "zz"}, "observed": {}}, "a"),
        ("rule", "because", "rule"),
        ("rule", {"statement": "x", "invariants": [1], "sources": []}, "invariants"),
    ],
)
def test_a_malformed_divergence_is_refused_with_its_path(member, value, path):
    data = written(diverged("restore.a"))
    data["divergences"][0][member] = value
    with pytest.raises(ScenarioError) as refused:
        record_from_json(data)
    assert path in str(refused.value)


def test_the_source_is_not_in_the_record():
    assert record_from_json(written(EVERY_VERDICT[0])).target.source == ""


@pytest.mark.parametrize("key", sorted(record_to_json(EVERY_VERDICT[0]).keys() - {"label"}))
def test_a_record_without_a_part_names_record_and_part(key):
    data = written(EVERY_VERDICT[0])
    del data[key]
    with pytest.raises(ScenarioError, match=f"'{key}' is missing"):
        record_from_json(data)


@pytest.mark.parametrize(
    "scenario", ["", "a b", "restore.<script>", "a..b", "a.b.", "../a", "a\n", "a#b"]
)
def test_an_id_with_other_characters_is_refused(scenario):
    with pytest.raises(ScenarioError, match="its id may have only"):
        record_from_json(written(EVERY_VERDICT[0]) | {"id": scenario})


def test_an_unknown_verdict_is_refused():
    with pytest.raises(ScenarioError, match=r"restore\.a\.x.*GREAT"):
        record_from_json(written(EVERY_VERDICT[0]) | {"verdict": "GREAT"})


def test_a_defect_that_is_not_in_the_list_is_refused():
    with pytest.raises(ScenarioError, match="unknown defect 'Z9'"):
        record_from_json(written(diverged("restore.a")) | {"known": ["Z9"]})


@pytest.mark.parametrize(
    "part",
    [
        {"steps": None},
        {"steps": [{"calls": [{"op": 0, "result": 1, "observed": {"a": "zz"}}]}]},
        {"divergences": [{"step": 1}]},
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
