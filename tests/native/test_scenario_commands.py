"""``replay`` and ``repro --verify`` on this machine's KVM."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode

NAME = "xcrs.single.no-cpuid"


@pytest.fixture
def document(capsys, tmp_path):
    main(["explain", "--json", NAME])
    path = tmp_path / "scenario.json"
    path.write_text(capsys.readouterr().out)
    return path


def test_a_document_runs_like_its_scenario(document, tmp_path, capsys):
    record = tmp_path / "run.json"
    arguments = ["replay", str(document), "--target", "host", "--json", str(record)]
    assert main(arguments) == ExitCode.OK
    assert "1 PASS" in capsys.readouterr().out
    (written,) = json.loads(record.read_text())["scenarios"]
    assert (written["id"], written["verdict"]) == (NAME, "PASS")


def test_a_changed_document_runs_as_it_says(document, tmp_path):
    whole = json.loads(document.read_text())
    whole["steps"] = [*whole["steps"][:4], {"op": {"op": "set-xcrs", "xcr0": 3}}]
    whole["id"] = "mine.first"
    document.write_text(json.dumps(whole))
    assert main(["replay", str(document), "--target", "host"]) == ExitCode.OK


def test_a_program_for_this_host_runs_here(tmp_path, capsys):
    # The kernel is correct in this, so the program does not reproduce anything.
    output = ["--output", str(tmp_path / "repro.c")]
    assert main(["repro", NAME, "--target", "host", "--verify", *output]) == ExitCode.DIVERGED
    assert "this host: not reproduced" in capsys.readouterr().out
