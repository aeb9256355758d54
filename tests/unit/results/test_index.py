"""The index over runs: what is new is taken in, what is gone is dropped."""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from kvmprobe.errors import RunDirectoryError
from kvmprobe.results.host_variant import HostVariant
from kvmprobe.results.index import INDEX, Index
from kvmprobe.results.journal import EntryType
from kvmprobe.results.record import ScenarioRecord, Target
from kvmprobe.results.record_json import record_to_json
from kvmprobe.results.run_directory import RunDirectory
from kvmprobe.results.run_document import read_outcomes
from kvmprobe.results.verdict import Verdict

OLD, NEW = Target("lab", "6.12.43", "old"), Target("lab", "6.12.95", "new")


def write_run(path, *records, complete=True):
    planned = ["a.1", "a.2"]
    begin = {"boot_id": "b", "time": f"2026-01-01T00:00:0{len(records)}Z", "planned": planned}
    directory = RunDirectory.create(path, begin)
    for record in records:
        directory.journal.append(EntryType.RESULT, {"record": record_to_json(record)})
    directory.journal.append(EntryType.END, {"complete": complete})
    directory.close()
    return path


def record(scenario, target=OLD, verdict=Verdict.PASS, known=()):
    return ScenarioRecord(scenario, "", "", target, verdict, known=known)


@pytest.fixture
def index(tmp_path):
    with Index(tmp_path / "runs") as opened:
        yield opened


def kernels(index, **globs):
    return [(r.scenario, r.kernel, r.verdict) for r in index.records(**globs)]


def test_runs_are_told_with_their_counts(index, tmp_path):
    failed = record("a.2", verdict=Verdict.DIVERGED, known=("O1",))
    write_run(tmp_path / "runs" / "one", record("a.1"), failed)
    index.refresh()
    assert [(r.kernel, r.complete, r.counts) for r in index.runs()] == [
        ("6.12.43", True, {"DIVERGED": 1, "PASS": 1})
    ]


def test_the_runs_of_a_matrix_are_told(index, tmp_path):
    for target in (OLD, NEW):
        write_run(tmp_path / "runs" / "matrix" / target.kernel, record("a.1", target))
    index.refresh()
    assert kernels(index) == [("a.1", "6.12.43", "PASS"), ("a.1", "6.12.95", "PASS")]


def test_a_run_in_which_nothing_ran_is_told(index, tmp_path):
    write_run(tmp_path / "runs" / "one", complete=False)
    index.refresh()
    assert [(r.kernel, r.not_completed, r.counts) for r in index.runs()] == [("", 2, {})]


def test_a_scenario_is_told_across_kernels(index, tmp_path):
    write_run(tmp_path / "runs" / "one", record("a.1", OLD, Verdict.CRASHED))
    write_run(tmp_path / "runs" / "two", record("a.1", NEW), record("a.2", NEW))
    index.refresh()
    assert kernels(index, scenario="a.1") == [
        ("a.1", "6.12.43", "CRASHED"),
        ("a.1", "6.12.95", "PASS"),
    ]


def test_a_run_that_went_on_is_read_again(index, tmp_path):
    path = write_run(tmp_path / "runs" / "one", record("a.1"))
    index.refresh()
    directory = RunDirectory.open(path)
    directory.journal.append(EntryType.RESULT, {"record": record_to_json(record("a.2"))})
    directory.close()
    index.refresh()
    assert [scenario for scenario, *_ in kernels(index)] == ["a.1", "a.2"]


def test_text_that_utf_8_cannot_encode_is_taken_in_escaped(index, tmp_path):
    half = "\ud800"
    path = write_run(tmp_path / "runs" / "\udcff", record("a.1", Target("lab", half, half)))
    assert index.refresh() == []
    (row,) = index.records()
    assert row.kernel == r"\ud800"
    shutil.rmtree(path)
    index.refresh()
    assert list(index.records()) == []


def test_a_run_that_was_deleted_is_dropped(index, tmp_path):
    path = write_run(tmp_path / "runs" / "one", record("a.1"))
    index.refresh()
    shutil.rmtree(path)
    index.refresh()
    assert (index.runs(), kernels(index)) == ([], [])


def test_a_run_elsewhere_is_taken_in_and_stays(index, tmp_path):
    path = write_run(tmp_path / "elsewhere", record("a.1"))
    index.refresh([path])
    index.refresh()
    assert [row.path for row in index.runs()] == [str(path)]


def test_the_index_can_be_made_again(index, tmp_path):
    write_run(tmp_path / "runs" / "one", record("a.1"))
    index.refresh()
    before = index.runs()
    (tmp_path / "runs" / INDEX).unlink()
    with Index(tmp_path / "runs") as again:
        again.refresh()
        assert again.runs() == before


def test_a_run_that_cannot_be_read_is_named_and_the_others_are_there(index, tmp_path):
    write_run(tmp_path / "runs" / "one", record("a.1"))
    broken = write_run(tmp_path / "runs" / "two", record("a.1"))
    with (broken / "journal.jsonl").open("ab") as file:
        file.write(b"nonsense\n")
    (complaint,) = index.refresh()
    assert ("two/journal.jsonl:4" in complaint, len(index.runs())) == (True, 1)


def test_what_is_no_index_is_refused(tmp_path):
    (tmp_path / INDEX).write_text("no database, but long enough to be looked at" * 30)
    with pytest.raises(RunDirectoryError, match="it can be deleted"):
        Index(tmp_path)


def test_anyone_may_ask_it_in_sql(index, tmp_path):
    write_run(tmp_path / "runs" / "one", record("a.1"))
    index.refresh()
    with closing(sqlite3.connect(index.path)) as base:
        assert base.execute("SELECT kernel FROM records").fetchall() == [("6.12.43",)]


def test_a_path_that_is_no_run_is_named(index, tmp_path):
    (complaint,) = index.refresh([tmp_path / "nothing"])
    assert complaint.startswith(f"{tmp_path / 'nothing'}: not a run directory")


def test_an_index_that_is_interrupted_keeps_what_it_has(index, tmp_path, monkeypatch):
    monkeypatch.setattr("kvmprobe.results.index.read_outcomes", interrupted_at(2))
    for name in ("one", "two", "three"):
        write_run(tmp_path / "runs" / name, record("a.1"))
    with pytest.raises(KeyboardInterrupt):
        index.refresh()
    with Index(tmp_path / "runs") as again:
        assert len(again.runs()) == 1


def interrupted_at(number):
    def read(path):
        nonlocal number
        number -= 1
        if number:
            return read_outcomes(path)
        raise KeyboardInterrupt

    return read


@pytest.mark.skipif(os.geteuid() != 0, reason="a folder of another user needs root to be made")
def test_whoever_may_not_write_the_folder_can_ask_all_the_same(tmp_path):
    # Directories above pytest's are for their owner only, whoever that is.
    with tempfile.TemporaryDirectory() as shared:
        Path(shared).chmod(0o755)
        runs = Path(shared) / "runs"
        write_run(runs / "one", record("a.1"))
        write_run(runs / "two", record("a.2"))
        (runs / "two").chmod(0o700)
        os.seteuid(65534)
        try:
            with Index(runs) as index:
                complaints, told = index.refresh(), kernels(index)
        finally:
            os.seteuid(0)
        assert (complaints, told) == ([], [("a.1", "6.12.43", "PASS")])
        assert not index.path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="as above")
def test_where_no_folder_can_be_made_there_are_no_runs():
    os.seteuid(65534)
    try:
        with Index(Path("/nonexistent/runs")) as index:
            assert (index.refresh(), index.runs()) == ([], [])
    finally:
        os.seteuid(0)


def test_runs_of_one_kernel_on_two_hosts_are_told_apart(index, tmp_path):
    variant = Target("lab", "6.12.95", "new", HostVariant("nopku"))
    write_run(tmp_path / "runs" / "one", record("a.1", NEW))
    write_run(tmp_path / "runs" / "two", record("a.1", variant), record("a.2", variant))
    index.refresh()
    assert [(r.kernel, r.variant) for r in index.runs()] == [
        ("6.12.95", ""),
        ("6.12.95", "--append nopku"),
    ]
