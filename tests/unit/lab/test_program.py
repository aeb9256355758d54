import io
import os
import subprocess
from pathlib import Path

import pytest

from kvmprobe.errors import LabError, UsageError
from kvmprobe.lab.initramfs import Mode
from kvmprobe.lab.machine_events import (
    ConsolePanic,
    Ended,
    EndReason,
    KvmMissing,
    Output,
    ProgramExited,
    ProgramKilled,
    Stream,
)
from kvmprobe.lab.program import GuestFile, Program, Sinks, _handle
from kvmprobe.results.console_text import PanicReport


def test_a_file_keeps_its_path_unless_another_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "with:colon").touch()
    assert GuestFile.parse("file").guest == str(tmp_path / "file")
    assert GuestFile.parse("file:/opt/other") == GuestFile(Path("file"), "/opt/other")
    assert GuestFile.parse("with:colon").guest == str(tmp_path / "with:colon")


@pytest.mark.parametrize("text", ["absent", "absent:/x", "/etc/hostname:relative"])
def test_files_that_cannot_be_meant_are_refused(text):
    with pytest.raises(UsageError):
        GuestFile.parse(text)


def test_a_command_becomes_its_absolute_path_with_its_arguments(tmp_path):
    (tmp_path / "data").write_text("x")
    payload = Program(("true", "a b"), (GuestFile(tmp_path / "data", "/data"),)).payload()
    assert payload.mode is Mode.EXEC
    assert payload.command[0].endswith("/true")
    assert payload.command[1:] == ("a b",)
    assert payload.environment["PATH"] == os.environ["PATH"]
    assert "/data" in payload.files


def test_a_command_may_be_a_file_that_goes_along_by_its_path_in_the_guest(tmp_path):
    script = tmp_path / "own.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    payload = Program(("/tests/own.sh", "a"), (GuestFile(tmp_path, "/tests"),)).payload()
    assert payload.command == ("/tests/own.sh", "a")
    assert "/tests/own.sh" in payload.files
    assert os.path.realpath("/bin/sh") in payload.files


def test_a_command_that_does_not_go_along_is_refused_by_its_path_here(tmp_path):
    with pytest.raises(UsageError, match=str(tmp_path / "absent")):
        Program(("/tests/absent",), (GuestFile(tmp_path, "/tests"),)).payload()


def test_libraries_in_a_named_directory_bring_theirs_along(tmp_path):
    (tmp_path / "deep").mkdir()
    own = str(tmp_path / "deep" / "own.so")
    linked = ["-Wl,--no-as-needed", "-lm"]
    subprocess.run(["gcc", "-shared", "-o", own, "-x", "c", "/dev/null", *linked], check=True)
    payload = Program(("true",), (GuestFile.parse(str(tmp_path)),)).payload()
    assert os.path.realpath("/lib/x86_64-linux-gnu/libm.so.6") in payload.files


def test_a_named_library_brings_its_own_libraries_along():
    library = os.path.realpath("/lib/x86_64-linux-gnu/libm.so.6")
    payload = Program(("true",), (GuestFile.parse(library),)).payload()
    assert library in payload.files


@pytest.mark.parametrize(
    ("event", "status"),
    [(ProgramExited(7), 7), (ProgramKilled(9), 137), (Ended(EndReason.FINISHED), None)],
)
def test_the_status_is_a_shells(event, status):
    assert _handle(event, Sinks(io.BytesIO(), io.BytesIO())) == status


def test_output_is_passed_on_to_its_own_stream():
    out, err = io.BytesIO(), io.BytesIO()
    _handle(Output(Stream.STDOUT, b"\0out"), Sinks(out, err))
    _handle(Output(Stream.STDERR, b"err\n"), Sinks(out, err))
    _handle(KvmMissing("why"), Sinks(out, err))
    assert out.getvalue() == b"\0out"
    assert err.getvalue() == b"err\nkvmprobe: the emulated host has no KVM: why\n"


def test_a_panic_is_status_255_and_its_report_is_shown():
    err = io.BytesIO()
    report = PanicReport("Oops: so", "function", (), "the text\n")
    assert _handle(ConsolePanic(report), Sinks(io.BytesIO(), err)) == 255
    assert b"Oops: so\nthe text\n" in err.getvalue()


@pytest.mark.parametrize("reason", [EndReason.HANG, EndReason.RESET, EndReason.EMULATOR_DIED])
def test_an_end_without_a_status_is_an_error(reason):
    with pytest.raises(LabError, match=reason.value[:20]):
        _handle(Ended(reason, "words"), Sinks(io.BytesIO(), io.BytesIO()))
