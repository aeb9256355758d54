"""``kvmprobe runs --json``: a document like those of the other commands."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.results.journal import EntryType
from kvmprobe.results.record import ScenarioRecord, Target
from kvmprobe.results.record_json import record_to_json
from kvmprobe.results.run_directory import RunDirectory
from kvmprobe.results.verdict import Verdict

LAB = Target("lab", "6.12.43", "test")
RECORD = ScenarioRecord("a.1", "1", "", LAB, Verdict.DIVERGED, known=("B1", "O1"))


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    begin = {"boot_id": "b", "time": "2026-01-01T00:00:00Z", "planned": ["a.1"]}
    directory = RunDirectory.create(tmp_path / "kvmprobe" / "runs" / "one", begin)
    directory.journal.append(EntryType.RESULT, {"record": record_to_json(RECORD)})
    directory.close()

    def ask(*arguments):
        assert main(["runs", "--json", *arguments]) == 0
        return json.loads(capsys.readouterr().out)

    return ask


def test_it_names_its_schema(told):
    assert told()["schema"] == "kvmprobe-runs/1"


def test_runs_have_their_counts(told):
    (run,) = told()["runs"]
    assert (run["kernel"], run["complete"], run["counts"]) == ("6.12.43", False, {"DIVERGED": 1})


def test_a_record_has_the_names_that_it_has_in_its_run(told):
    (row,) = told("--scenario", "a.*")["scenarios"]
    data = record_to_json(RECORD)
    assert {name: row[name] for name in ("id", "target", "kernel", "verdict", "known")} == {
        name: data[name] for name in ("id", "target", "kernel", "verdict", "known")
    }
