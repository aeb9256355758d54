"""``kvmprobe bugreport`` on files."""

import subprocess
import sys

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.repro.build import compile_program
from tests.support.cases import B1, B1_TOO, O1, OPEN, run_on
from tests.support.runs import written


@pytest.fixture
def bad(tmp_path):
    return str(written(tmp_path / "7.3.4.json", run_on("7.3.4", *OPEN)))


@pytest.fixture
def old(tmp_path):
    return str(written(tmp_path / "6.12.43.json", run_on("6.12.43", *B1_TOO)))


def test_a_report_goes_to_standard_output_and_the_advice_to_standard_error_too(bad, capsys):
    assert main(["bugreport", bad, O1]) == ExitCode.OK
    out, err = capsys.readouterr()
    assert err.startswith("This crash looks unreported")
    assert out.startswith(err)
    assert "\n---- reproducer.c\n// SPDX-License-Identifier: MIT\n" in out


def test_other_runs_say_which_kernels_are_affected(bad, old, capsys):
    assert main(["bugreport", bad, O1, "--also", old]) == ExitCode.OK
    assert "affected, host panics (emulated host): 6.12.43, 7.3.4" in capsys.readouterr().out


def test_a_report_and_its_program_go_to_files(bad, tmp_path, capsys):
    mail, source = tmp_path / "mail.txt", tmp_path / "o1.c"
    words = ["bugreport", bad, O1, "--output", str(mail), "--reproducer", str(source)]
    assert main(words) == ExitCode.OK
    assert capsys.readouterr().out == ""
    assert "A program in C, o1.c, is available." in mail.read_text()
    assert "---- reproducer.c" not in mail.read_text()
    compile_program(source, tmp_path / "o1")


def test_a_scenario_may_be_named_by_its_file(bad, tmp_path, capsys):
    assert main(["explain", "--json", O1]) == ExitCode.OK
    path = tmp_path / "o1.json"
    path.write_text(capsys.readouterr().out)
    assert main(["bugreport", bad, str(path)]) == ExitCode.OK


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("restore.nothing", "unknown scenario 'restore.nothing'"),
        (B1, f"nothing to report of {B1} in 7.3.4.json: it passed on emulated host, 7.3.4"),
        ("xsave.extent.bare", "7.3.4.json has no record of xsave.extent.bare"),
    ],
)
def test_what_cannot_be_reported_writes_nothing(scenario, message, bad, tmp_path, capsys):
    mail, source = tmp_path / "mail.txt", tmp_path / "program.c"
    words = ["--output", str(mail), "--reproducer", str(source)]
    assert main(["bugreport", bad, scenario, *words]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"kvmprobe: {message}")
    assert not mail.exists()
    assert not source.exists()


def test_a_run_that_is_not_there_is_a_usage_error(tmp_path, capsys):
    assert main(["bugreport", str(tmp_path / "none.json"), O1]) == ExitCode.USAGE
    assert "none.json: No such file or directory" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_a_usage_error(bad, tmp_path, capsys):
    assert main(["bugreport", bad, O1, "--output", str(tmp_path / "no" / "x")]) == ExitCode.USAGE
    assert "--output" in capsys.readouterr().err


# The same command in a process where the compiled extension cannot be imported.
WITHOUT_THE_BUILD = """\
import sys

sys.modules["kvmprobe.bindings._kvm"] = None
from kvmprobe.cli.main import main

sys.exit(main(sys.argv[1:]))
"""


def test_a_kept_run_is_reported_on_a_machine_without_the_build(bad):
    command = [sys.executable, "-c", WITHOUT_THE_BUILD, "bugreport", bad, O1]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (ExitCode.OK, False)
    assert "Subject: x86/fpu: Guest XFD write leaves XSTATE_BV set" in done.stdout
