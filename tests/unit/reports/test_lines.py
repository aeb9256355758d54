"""JSON lines and the run's document against their schema."""

import json
from functools import cache

import pytest
from jsonschema import Draft202012Validator

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.reports.formats.jsonl import LinesReport, lines
from kvmprobe.results.lines_schema import lines_schema
from kvmprobe.results.record_json import record_to_json
from kvmprobe.results.run_document import Ending
from kvmprobe.results.schema import LINES
from kvmprobe.scenarios import catalog
from tests.support.fake_runs import run_of
from tests.support.hosts import AMX_HOST
from tests.support.runs import EVERY, EVERY_VERDICT, INTERRUPTED, MISSING, written

XFD_LAST = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"

SCHEMA = lines_schema()


@cache
def validator(part=None):
    of_part = {"$ref": f"#/$defs/{part}", "$defs": SCHEMA["$defs"]}
    return Draft202012Validator(of_part if part else SCHEMA)


def told(*runs):
    return [json.loads(line) for line in lines(runs).splitlines()]


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_is_of_the_version_that_is_written():
    (run, *_) = SCHEMA["oneOf"]
    assert (run["properties"]["schema"]["const"], SCHEMA["title"]) == (LINES, LINES)


@pytest.mark.parametrize("run", [EVERY, INTERRUPTED], ids=["complete", "cut short"])
def test_every_line_follows_the_schema(run):
    for line in told(run):
        validator().validate(line)


def test_a_record_with_all_there_is_to_draw_follows_it_as_well():
    # O1 (known-bugs): IA32_XFD written after KVM_SET_XSAVE; the last read-back has other values.
    (scenario,) = (s for s in catalog.scenarios(AMX_HOST) if s.id == XFD_LAST)
    run = run_of("7.3.4", [scenario], Behaviour.XFD_WRITE_KEEPS_XSTATE_BV)
    (line,) = (line for line in told(run) if line["type"] == "scenario")
    assert line["divergences"][0]["difference"]["regions"]
    assert any("expected" in call for step in line["steps"] for call in step["calls"])
    validator().validate(line)


def test_the_records_of_a_document_follow_it_too(tmp_path):
    document = json.loads(written(tmp_path / "run.json", INTERRUPTED).read_text())
    for record in document["scenarios"]:
        validator("scenario").validate(record)
    validator("summary").validate(document["summary"])


@pytest.mark.parametrize(
    "broken",
    [
        {"verdict": "GREAT"},
        {"id": "a b"},
        {"surplus": 1},
        {"steps": [{}]},
        {"duration": -1},
        {"type": "run"},
    ],
    ids=str,
)
def test_the_schema_refuses_another_line(broken):
    assert not validator().is_valid(told(EVERY)[1] | broken)


@pytest.mark.parametrize("key", sorted(record_to_json(EVERY_VERDICT[0])))
def test_the_schema_asks_for_every_part_of_a_record(key):
    line = told(EVERY)[1]
    del line[key]
    assert not validator().is_valid(line)


def test_the_run_comes_first_and_its_summary_last():
    kinds = [line["type"] for line in told(EVERY)]
    assert kinds == ["run", *["scenario"] * len(EVERY_VERDICT), "summary"]


def test_the_first_line_says_how_many_should_follow():
    assert told(INTERRUPTED)[0]["planned"] == len(EVERY_VERDICT) + len(MISSING)


def test_the_summary_names_what_did_not_complete():
    summary = told(INTERRUPTED)[-1]
    assert (summary["complete"], summary["not_completed"]) == (False, list(MISSING))


def test_the_summary_counts_verdicts():
    assert told(EVERY)[-1]["counts"]["DIVERGED"] == 2


def test_a_record_is_written_at_once():
    written_lines = []
    report = LinesReport(written_lines.append, "kvmprobe", [], ["restore.a.x", "restore.b.x"])
    report.add(EVERY_VERDICT[0])
    assert [json.loads(line)["type"] for line in written_lines] == ["run", "scenario"]
    report.finish(Ending.CUT_SHORT)
    assert json.loads(written_lines[-1])["not_completed"] == ["restore.b.x"]


def test_what_a_member_is_comes_from_its_class():
    divergences = SCHEMA["$defs"]["scenario"]["properties"]["divergences"]["items"]
    assert divergences["description"] == "Something that a correct kernel does not do."
    assert divergences["properties"]["step"]["description"] == "number of the step, from 0"
