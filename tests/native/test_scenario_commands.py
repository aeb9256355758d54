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


def test_a_changed_document_runs_as_changed(document, tmp_path):
    whole = json.loads(document.read_text())
    whole["steps"] = [*whole["steps"][:4], {"op": {"op": "set-xcrs", "xcr0": 3}}]
    whole["id"] = "mine.first"
    document.write_text(json.dumps(whole))
    assert main(["replay", str(document), "--target", "host"]) == ExitCode.OK


@pytest.fixture
def folder(document, tmp_path):
    """A directory of two documents that the catalogue does not have: one passes, one shows O2."""
    found = tmp_path / "documents"
    found.mkdir()
    whole = json.loads(document.read_text())
    steps = whole["steps"]
    (found / "b.json").write_text(json.dumps(whole | {"id": "mine.whole"}))
    (found / "a.json").write_text(json.dumps(whole | {"id": "mine.begin", "steps": steps[:3]}))
    return found


def test_many_documents_have_a_record_each_in_the_order_of_their_files(
    folder, document, tmp_path, capsys
):
    written = tmp_path / "run.json"
    files = [str(folder), str(document)]
    main(["replay", *files, "--target", "host", "--json", str(written)])
    records = json.loads(written.read_text())["scenarios"]
    assert [record["id"] for record in records] == ["mine.begin", "mine.whole", NAME]
    lines = capsys.readouterr().out.splitlines()
    shown = [line for line in lines if ".json: " in line]
    assert shown[0] == f"{folder}/a.json: mine.begin: PASS"
    assert [line.partition(": ")[0] for line in shown] == [
        f"{folder}/a.json",
        f"{folder}/b.json",
        str(document),
    ]


def test_a_kept_replay_can_be_reported_by_its_scenario_and_not_be_resumed(folder, tmp_path, capsys):
    run = str(tmp_path / "kept")
    main(["replay", str(folder), "--target", "host", "--out", run])
    capsys.readouterr()
    # It passed, so there is nothing to report; but the scenario is found.
    assert main(["bugreport", run, "mine.begin"]) == ExitCode.USAGE
    assert "nothing to report of mine.begin" in capsys.readouterr().err
    assert main(["resume", run]) == ExitCode.USAGE
    assert "cannot be resumed" in capsys.readouterr().err
    assert main(["report", run, "--format", "ktap"]) == ExitCode.OK
    assert "cut short" not in capsys.readouterr().err


def test_a_program_for_this_host_runs_here(tmp_path, capsys):
    # The kernel is correct in this, so the program does not reproduce anything.
    output = ["--output", str(tmp_path / "repro.c")]
    assert main(["repro", NAME, "--target", "host", "--verify", *output]) == ExitCode.DIVERGED
    assert "this host: not reproduced" in capsys.readouterr().out
