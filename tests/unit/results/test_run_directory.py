"""A run's directory: new or refused; payloads by content."""

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kvmprobe.errors import RunDirectoryError, UsageError
from kvmprobe.results.journal import EntryType
from kvmprobe.results.run_directory import RunDirectory, is_run_directory, payload, runs_folder

BEGIN = {"planned": []}


@pytest.fixture
def directory(tmp_path):
    made = RunDirectory.create(tmp_path / "deep" / "run", BEGIN)
    yield made
    made.close()


def test_a_new_directory_is_a_run(directory):
    assert is_run_directory(directory.path)


def test_an_empty_directory_may_become_a_run(tmp_path):
    RunDirectory.create(tmp_path, BEGIN).close()
    assert is_run_directory(tmp_path)


def test_what_is_there_is_never_overwritten(directory):
    with pytest.raises(UsageError, match="not empty, and runs are never overwritten"):
        RunDirectory.create(directory.path, BEGIN)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another with --out DIR"):
        RunDirectory.create(tmp_path / "file" / "run", BEGIN)


def test_opening_something_else_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"not a run directory \(it has no journal\.jsonl\)"):
        RunDirectory.open(tmp_path)


def test_opening_again_keeps_what_was_written(directory):
    directory.journal.append(EntryType.END, {})
    directory.close()
    again = RunDirectory.open(directory.path)
    again.close()
    assert [e["type"] for e in again.entries()] == ["begin", "end"]


def test_a_payload_is_kept_by_its_hash(directory):
    name = directory.keep(b"image")
    assert (name, payload(directory.path, name)) == (hashlib.sha256(b"image").hexdigest(), b"image")


def test_a_payload_is_kept_once(directory):
    directory.keep(b"image")
    directory.keep(b"image")
    files = [f for f in (directory.path / "payloads").rglob("*") if f.is_file()]
    assert len(files) == 1


def test_a_damaged_payload_is_told(directory):
    name = directory.keep(b"image")
    (directory.path / "payloads" / name[:2] / name).write_bytes(b"imagf")
    with pytest.raises(UsageError, match="damaged"):
        payload(directory.path, name)


def test_a_missing_payload_is_told(directory):
    with pytest.raises(UsageError, match="No such file"):
        payload(directory.path, "0" * 64)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/kvmprobe/runs"),
        ({"XDG_STATE_HOME": "s", "HOME": "/h"}, "/h/.local/state/kvmprobe/runs"),
        ({"HOME": "/h"}, "/h/.local/state/kvmprobe/runs"),
        ({"HOME": ""}, "~/.local/state/kvmprobe/runs"),
        ({}, "~/.local/state/kvmprobe/runs"),
    ],
)
def test_runs_are_kept_where_the_xdg_specification_says(environ, folder, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)  # then ~ is what the user database says
    assert runs_folder(environ) == Path(folder).expanduser()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
def test_a_user_without_a_home_directory_is_told_what_to_give():
    os.seteuid(123456)
    try:
        with pytest.raises(UsageError, match="set HOME or XDG_STATE_HOME, or give --out DIR"):
            runs_folder({})
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "", "0" * 63, "/etc/passwd"])
def test_a_payload_has_no_other_name_than_a_hash(directory, name):
    with pytest.raises(UsageError, match="is not the name of a payload"):
        payload(directory.path, name)


def test_a_payload_that_is_a_pipe_is_not_read(directory):
    name = "0" * 64
    file = directory.path / "payloads" / name[:2] / name
    file.parent.mkdir(parents=True)
    os.mkfifo(file)
    with pytest.raises(UsageError, match="not a regular file"):
        payload(directory.path, name)


def test_a_journal_that_is_a_symbolic_link_is_not_written(directory, tmp_path):
    directory.close()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "journal.jsonl").symlink_to(directory.path / "journal.jsonl")
    with pytest.raises(RunDirectoryError, match="a symbolic link, and is not written"):
        RunDirectory.open(tmp_path / "other")


def test_of_two_that_begin_at_once_one_is_refused(tmp_path):
    together = threading.Barrier(2)

    def begun(run_id):
        together.wait()
        try:
            return RunDirectory.create(tmp_path / "run", {**BEGIN, "run_id": run_id})
        except UsageError as refused:
            return str(refused)

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(begun, ["one", "two"]))
    [refused] = [one for one in found if isinstance(one, str)]
    [made] = [one for one in found if not isinstance(one, str)]
    assert "runs are never overwritten" in refused
    assert made.entries()[0]["run_id"] == ["one", "two"][found.index(made)]
