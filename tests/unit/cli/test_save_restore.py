"""``kvmprobe save`` and ``kvmprobe restore``: what is refused before anything runs."""

import json

import jsonschema
import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode


def test_save_needs_a_file(capsys):
    assert main(["save"]) == ExitCode.USAGE
    assert "--output FILE is missing" in capsys.readouterr().err


def test_save_prints_the_schema(capsys):
    assert main(["save", "--schema"]) == ExitCode.OK
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("command", [["save", "-o", "x"], ["restore", "x"]])
def test_an_unknown_order_is_refused(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("{}")
    assert main([*command, "--order", "qmeu"]) == ExitCode.USAGE
    err = capsys.readouterr().err
    assert "neither a file nor one of" in err or "no saved guest" in err


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "not JSON: line 1"), (b"{}", "$.schema: no saved guest")]
)
def test_a_bad_file_is_refused_with_its_path(content, message, tmp_path, capsys):
    path = tmp_path / "guest.json"
    path.write_bytes(content)
    assert main(["restore", str(path)]) == ExitCode.USAGE
    assert f"kvmprobe: {path}: {message}" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_refused(tmp_path, capsys):
    path = tmp_path / "guest.json"
    assert main(["restore", str(path)]) == ExitCode.USAGE
    assert f"kvmprobe: {path}: No such file or directory" in capsys.readouterr().err
