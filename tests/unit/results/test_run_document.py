"""Reading runs back: the JSON document and JSON lines, whole and cut short."""

import json
from dataclasses import replace

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.reports.formats.jsonl import lines
from kvmprobe.results.record_json import record_to_json
from kvmprobe.results.run_document import Ending, read_run, run_of
from kvmprobe.results.verdict import Verdict
from tests.support.runs import (
    EVERY,
    EVERY_VERDICT,
    INTERRUPTED,
    MISSING,
    OLD,
    cuts,
    passed,
    run_of_records,
    written,
)

HEAD = {"tool": "kvmprobe 0.1.0", "command": ["kvmprobe"]}


@pytest.fixture
def document(tmp_path):
    return written(tmp_path / "run.json", EVERY)


@pytest.fixture
def lines_file(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text(lines([EVERY]))
    return path


def test_a_document_is_read_back(document):
    assert read_run(document) == EVERY


def test_json_lines_are_read_back(lines_file):
    assert read_run(lines_file) == EVERY


@pytest.mark.parametrize("indent", [None, 1])
def test_a_document_that_was_reformatted_is_read_as_well(document, indent):
    document.write_text(json.dumps(json.loads(document.read_text()), indent=indent))
    assert read_run(document) == EVERY


def test_an_interrupted_run_says_what_did_not_complete(tmp_path):
    run = read_run(written(tmp_path / "run.json", INTERRUPTED))
    assert (run.ending, run.not_completed) == (Ending.CUT_SHORT, MISSING)


@pytest.mark.parametrize("form", ["document", "lines_file"])
def test_a_file_that_was_cut_is_read_up_to_its_last_whole_line(form, request):
    path = request.getfixturevalue(form)
    whole = path.read_bytes()
    for cut in cuts(whole):
        path.write_bytes(cut)
        run = read_run(path)
        complete = sum(b'"id":' in line and line in whole for line in cut.splitlines()[:-1])
        assert len(run.records) in {complete, complete + 1}
        assert [r.id for r in run.records] == [r.id for r in EVERY_VERDICT[: len(run.records)]]
        assert run.ending is Ending.CUT_SHORT


def test_a_file_cut_within_its_first_line_is_no_run(document):
    document.write_bytes(document.read_bytes()[:20])
    with pytest.raises(UsageError, match="schema kvmprobe-run/2 or kvmprobe-lines/2"):
        read_run(document)


@pytest.mark.parametrize("name", ["run", "lines"])
@pytest.mark.parametrize(
    ("version", "age"), [(1, "too old: it is"), (3, "from a newer kvmprobe: it is")]
)
@pytest.mark.parametrize("cut", [None, 90], ids=["whole", "cut short"])
def test_a_document_of_another_version_is_refused(tmp_path, name, version, age, cut):
    path = tmp_path / "other"
    schema = f"kvmprobe-{name}/{version}"
    first = f'{{"schema": "{schema}", "tool": "kvmprobe 0", "command": ["kvmprobe", "run"]'
    path.write_text((first + ',\n"scenarios": [\n]}\n')[:cut])
    if name == "lines":
        path.write_text(f'{{"type": "run", {first[1:]}}}\n')
    with pytest.raises(UsageError, match=f"other: {age} {schema}, this kvmprobe reads"):
        read_run(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"[]", b"{}", b"\xff\x00", b'{"schema": "x/1"}'])
def test_something_else_is_no_run(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"other: it does not begin with the schema"):
        read_run(path)


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_run(tmp_path / "missing")


def test_a_malformed_record_names_file_and_record(document):
    text = document.read_text().replace('"verdict":"PASS"', '"verdict":"GREAT"')
    document.write_text(text)
    with pytest.raises(UsageError, match=r"run.json: the record of restore.a.x: .*GREAT"):
        read_run(document)


def test_two_runs_in_one_file_are_refused(tmp_path):
    path = tmp_path / "two.jsonl"
    path.write_text(lines([EVERY, EVERY]))
    with pytest.raises(UsageError, match="several runs"):
        read_run(path)


def test_of_two_records_of_a_scenario_the_later_counts():
    first = passed("restore.a")
    later = replace(first, verdict=Verdict.TIMED_OUT)
    run = run_of(HEAD, (record_to_json(r) for r in (first, passed("restore.b"), later)), None)
    assert [(r.id, r.verdict) for r in run.records] == [
        ("restore.a", Verdict.TIMED_OUT),
        ("restore.b", Verdict.PASS),
    ]


def test_records_without_an_end_are_a_run_that_was_cut_short():
    assert run_of(HEAD, [], None).ending is Ending.CUT_SHORT


def test_what_has_a_record_did_complete():
    tail = {"complete": False, "not_completed": ["restore.a", "restore.b"]}
    run = run_of(HEAD, [record_to_json(passed("restore.a"))], tail)
    assert run.not_completed == ("restore.b",)


def test_planned_are_the_recorded_and_the_missing():
    run = run_of_records(passed("restore.a"), not_completed=("restore.b",))
    assert run.planned == ["restore.a", "restore.b"]


def test_targets_are_named_once(document):
    targets = read_run(document).targets
    assert len(targets) == len(set(targets)) == 2
    assert targets[0] == OLD


def test_of_a_run_that_was_cut_something_is_missing_even_if_it_does_not_say_what():
    cut = run_of_records(passed("restore.a"), ending=Ending.CUT_SHORT)
    assert cut.missing == ("cut-short",)
    assert (INTERRUPTED.missing, EVERY.missing) == (MISSING, ())
