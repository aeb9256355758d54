"""A corpus: what is read is checked, what is written is named by its content."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from kvmprobe.cli import corpus
from kvmprobe.cli.corpus import read_corpus, write_corpus
from kvmprobe.errors import ExitCode, RunDirectoryError, ScenarioError, UsageError
from kvmprobe.results.durable import scratch_name
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.document import to_document
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from kvmprobe.scenarios.scenario import ScenarioStep
from tests.support.hosts import AMX_HOST

ONE, OTHER, THIRD = list(catalog.scenarios(AMX_HOST))[:3]


def test_what_is_written_is_read(tmp_path):
    assert write_corpus(tmp_path, [ONE, OTHER], []) == (2, 0)
    steps = {scenario.steps for scenario in read_corpus(tmp_path)}
    assert steps == {ONE.steps, OTHER.steps}


def test_the_same_steps_are_one_file_whatever_their_id(tmp_path):
    assert write_corpus(tmp_path, [ONE, replace(ONE, id="other")], []) == (1, 0)


def test_only_superfluous_files_of_a_search_are_removed(tmp_path):
    (tmp_path / "mine.json").write_text(to_document(OTHER))
    write_corpus(tmp_path, [ONE, THIRD], [])
    assert write_corpus(tmp_path, [OTHER], [ONE, OTHER]) == (1, 1)
    (tmp_path / "mine.json").unlink()
    assert {s.steps for s in read_corpus(tmp_path)} == {OTHER.steps, THIRD.steps}


def test_a_search_that_ended_before_it_began_removes_nothing(tmp_path):
    write_corpus(tmp_path, [ONE], [])
    assert write_corpus(tmp_path, [], []) == (0, 0)
    assert len(read_corpus(tmp_path)) == 1


def test_what_a_writer_that_died_left_is_ignored(tmp_path):
    (tmp_path / scratch_name("corpus.0123456789abcdef.json")).write_text("{")
    assert read_corpus(tmp_path) == []


def test_what_can_be_judged_on_one_host_alone_is_left_out(tmp_path):
    # The name of no descriptor is bound.
    assert write_corpus(tmp_path, [replace(ONE, steps=(ScenarioStep(GetXcrs()),))], []) == (0, 0)


def test_a_directory_that_is_missing_is_empty(tmp_path):
    assert read_corpus(tmp_path / "none") == []


def refused(folder, kind):
    with pytest.raises(kind) as error:
        read_corpus(folder)
    assert error.value.exit_code in {ExitCode.USAGE, ExitCode.TOOL_BUG}
    return str(error.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"schema": "kvmprobe-scenario/9"}', b"[" * 100_000],
    ids=["empty", "cut", "binary", "list", "version", "deep"],
)
def test_a_file_that_is_no_scenario_is_refused_with_its_path(tmp_path, content):
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    assert str(file) in refused(tmp_path, ScenarioError)


def test_an_op_of_another_version_is_refused_with_its_path(tmp_path):
    file = tmp_path / "new.json"
    document = json.loads(to_document(ONE))
    document["steps"][0]["op"]["op"] = "set-plane"
    file.write_text(json.dumps(document))
    assert f"{file}: $.steps[0].op.op" in refused(tmp_path, ScenarioError)


def test_a_huge_file_is_not_read(tmp_path):
    file = tmp_path / "huge.json"
    with file.open("wb") as sparse:
        sparse.truncate(corpus.MOST_BYTES + 1)
    assert str(file) in refused(tmp_path, UsageError)


def test_a_fifo_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    assert "pipe.json: not a regular file" in refused(tmp_path, UsageError)


def test_another_file_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert "notes.txt" in refused(tmp_path, UsageError)


def test_a_directory_that_cannot_be_written_keeps_its_files(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(RunDirectoryError, match="its files are kept"):
        write_corpus(file, [ONE], [])
    assert file.read_text() == "mine"
    with pytest.raises(UsageError, match=str(file)):
        read_corpus(file)
