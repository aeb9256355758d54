"""``kvmprobe runs`` where there is nothing to list."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def run(*options):
        status = main(["runs", *options])
        out, err = capsys.readouterr()
        return status, out, err.replace(str(tmp_path), "STATE")

    return run


ELSEWHERE = "--also DIR includes a run that `run --out DIR` made elsewhere"


def test_no_kept_run_is_reported_with_the_way_to_include_others(told):
    assert told() == (0, "", f"kvmprobe: no run in STATE/kvmprobe/runs; {ELSEWHERE}\n")


def test_no_such_record_is_reported_with_the_way_to_include_others(told):
    expected = f"kvmprobe: no record like that in STATE/kvmprobe/runs; {ELSEWHERE}\n"
    assert told("--verdict", "CRASHED") == (0, "", expected)


def test_the_document_is_one_all_the_same(told):
    document = {"schema": "kvmprobe-runs/1", "runs": [], "scenarios": []}
    assert json.loads(told("--json")[1]) == document


def test_a_run_of_an_older_kvmprobe_is_refused_with_what_to_do(told, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    (old / "journal.jsonl").write_text('{"type":"begin","schema":"kvmprobe-journal/1"}\n')
    status, out, err = told("--also", str(old))
    assert (status, out) == (ExitCode.USAGE, "")
    assert "too old: it is kvmprobe-journal/1, this kvmprobe reads kvmprobe-journal/2" in err
    assert "run the scenarios again" in err
