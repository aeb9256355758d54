"""``kvmprobe runs`` where there is nothing to list."""

import json

import pytest

from kvmprobe.cli.main import main


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def run(*options):
        status = main(["runs", *options])
        out, err = capsys.readouterr()
        return status, out, err.replace(str(tmp_path), "STATE")

    return run


def test_that_no_run_is_kept_is_said(told):
    assert told() == (0, "", "kvmprobe: no run in STATE/kvmprobe/runs\n")


def test_that_no_record_is_asked_for_is_said(told):
    expected = "kvmprobe: no record like that in STATE/kvmprobe/runs\n"
    assert told("--verdict", "CRASHED") == (0, "", expected)


def test_the_document_is_one_all_the_same(told):
    document = {"schema": "kvmprobe-runs/1", "runs": [], "scenarios": []}
    assert json.loads(told("--json")[1]) == document
