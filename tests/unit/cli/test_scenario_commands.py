"""``explain --json``, ``replay`` and ``repro`` as far as no kernel is asked."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode

NAME = "fpu.set.first"


@pytest.fixture
def document(capsys, tmp_path):
    assert main(["explain", "--json", NAME]) == ExitCode.OK
    path = tmp_path / "scenario.json"
    path.write_text(capsys.readouterr().out)
    return path


def test_explain_writes_the_scenario_as_json(document):
    whole = json.loads(document.read_text())
    assert (whole["schema"], whole["id"]) == ("kvmprobe-scenario/2", NAME)


def test_explain_and_repro_take_such_a_file(document, capsys):
    assert main(["explain", str(document)]) == ExitCode.OK
    by_file = capsys.readouterr().out
    assert main(["explain", NAME]) == ExitCode.OK
    assert by_file == capsys.readouterr().out


def test_repro_of_a_file_is_that_of_the_scenario(document, capsys):
    assert main(["repro", str(document), "--output", "-"]) == ExitCode.OK
    by_file = capsys.readouterr().out
    assert main(["repro", NAME, "--output", "-"]) == ExitCode.OK
    assert by_file == capsys.readouterr().out


def test_repro_writes_a_file_named_for_the_scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["repro", NAME]) == ExitCode.OK
    assert (tmp_path / "fpu_set_first.c").read_text().startswith("// SPDX-License-Identifier: MIT")


@pytest.mark.parametrize("command", ["repro", "explain"])
def test_an_unknown_scenario_is_told(command, capsys):
    assert main([command, "fpu.set.last"]) == ExitCode.USAGE
    assert "unknown scenario 'fpu.set.last'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["repro", NAME, "--target", "host", "--kernel", "6.1"],
        ["repro", NAME, "--target", "host", "--not-on", "6.1"],
        ["repro", NAME, "--output", "-", "--verify"],
        ["repro", NAME, "--output", "/nowhere/x.c"],
        ["replay", "/nowhere/x.json"],
        ["replay", "x.json", "--target", "host", "--kernel", "6.1"],
    ],
    ids=" ".join,
)
def test_arguments_that_contradict_each_other_are_told(arguments):
    assert main(arguments) == ExitCode.USAGE


def test_a_wrong_document_is_told_with_file_and_path_and_nothing_runs(document, capsys):
    document.write_text(document.read_text().replace('"given": "first"', '"given": "worst"'))
    assert main(["replay", str(document), "--device", "/nowhere"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert f"{document}: $.steps[4].op.given: expected one of init, first" in said


def test_two_documents_with_one_id_are_refused(document, tmp_path, capsys):
    folder = tmp_path / "more"
    folder.mkdir()
    other = folder / "other.json"
    other.write_text(document.read_text())
    assert main(["replay", str(document), str(folder), "--device", "/nowhere"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert f"{other}: its id 'fpu.set.first' is also that of {document}" in said


def test_a_directory_without_documents_is_refused(tmp_path, capsys):
    assert main(["replay", str(tmp_path)]) == ExitCode.USAGE
    assert f"{tmp_path}: no file in it ends in .json" in capsys.readouterr().err
