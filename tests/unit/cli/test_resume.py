"""``kvmprobe resume`` of what cannot be resumed: status 2, the file, what to do."""

import os

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.host.files import HostFiles
from kvmprobe.results.journal import EntryType
from kvmprobe.results.run_directory import RunDirectory

BEGIN = {
    "run_id": "3b0c0f5e-5dd8-4d0c-a1e5-5b3f3f0b8f55",
    "tool": "kvmprobe 0.1.0",
    "command": ["kvmprobe", "run"],
    "argv": ["run", "--target", "host"],
    "directory": "/",
    "boot_id": HostFiles().boot_id(),
    "time": "2026-01-01T00:00:00Z",
    "planned": ["xcrs.single.cpuid"],
}


@pytest.fixture
def begun(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # and back: resume goes where the run was begun

    def begin(**changed):
        content = {key: value for key, value in (BEGIN | changed).items() if value is not None}
        directory = RunDirectory.create(tmp_path / "run", content)
        directory.close()
        return directory.path

    return begin


def told(path, capsys):
    assert main(["resume", str(path)]) == ExitCode.USAGE
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"argv": None}, "journal.jsonl: its begin entry: KeyError('argv')"),
        ({"time": "yesterday"}, "journal.jsonl: its begin entry: ValueError("),
        ({"planned": None}, "an entry of the journal is malformed: KeyError('planned')"),
        ({"directory": "/gone"}, "/gone: No such file or directory: the run was started in"),
        ({"argv": ["run", "--wish"]}, "does not accept: run --wish"),
    ],
)
def test_a_beginning_that_cannot_be_repeated_is_named(begun, changed, says, capsys):
    assert says in told(begun(**changed), capsys)


def test_a_run_on_another_kernel_names_both(begun, capsys):
    path = begun()
    directory = RunDirectory.open(path)
    target = {"kind": "host", "kernel": "4.20.0-none", "source": "running: #1"}
    entry = {"target": target, "real": True, "facts": "0" * 64, "time": BEGIN["time"]}
    directory.journal.append(EntryType.PLACE, entry)
    directory.close()
    said = told(path, capsys)
    assert "the run is on 4.20.0-none (running: #1)" in said
    assert f"but {os.uname().release}" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="a user of another's run needs root to be made")
def test_a_run_of_somebody_else_is_no_run_but_forbidden(begun, capsys):
    path = begun()
    path.chmod(0o700)
    path.parent.chmod(0o755)
    os.seteuid(65534)
    try:
        said = told(path, capsys)
    finally:
        os.seteuid(0)
    assert said.endswith("Permission denied\n")


def test_a_negative_number_of_retries_is_refused(begun, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["resume", str(begun()), "--retries", "-1"])
    assert ended.value.code == ExitCode.USAGE
    assert "from 0 to 1000" in capsys.readouterr().err


def test_a_complete_run_has_nothing_left_to_run(begun, capsys):
    main(["resume", str(begun(planned=[]))])
    assert "nothing is left to run: every planned scenario has a record" in capsys.readouterr().err
