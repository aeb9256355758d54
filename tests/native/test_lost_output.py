"""A run whose standard output goes nowhere: its status must not be that of a pass or a failure."""

import os
import subprocess
from pathlib import Path

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.run_document import Ending, read_run
from tests.support.command import COMMAND

pytestmark = pytest.mark.kvm
SECONDS = 60


def arguments(*words):
    return [*COMMAND, *words]


def run_into(stdout, out):
    command = arguments("run", "--target", "host", "--select", "xcrs.*", "--print", "all")
    return subprocess.run(
        [*command, "--out", str(out)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture
def unread():
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_a_run_without_a_reader_is_cut_short_and_prints_how_to_resume(unread, tmp_path):
    ended = run_into(unread, tmp_path / "run")
    lines = ended.stderr.splitlines()
    assert (ended.returncode, lines[-1]) == (
        ExitCode.USAGE,
        "kvmprobe: standard output: Broken pipe",
    )
    assert f"kvmprobe: to continue: kvmprobe resume {tmp_path / 'run'}" in lines
    assert read_run(tmp_path / "run").ending is Ending.CUT_SHORT


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_run_whose_output_does_not_fit_says_so(tmp_path):
    with Path("/dev/full").open("w") as full:
        ended = run_into(full, tmp_path / "run")
    assert ended.returncode == ExitCode.USAGE
    assert ended.stderr.endswith("kvmprobe: standard output: No space left on device\n")


def test_a_list_whose_reader_stops_early_succeeds(unread):
    ended = subprocess.run(
        arguments("ops"), stdout=unread, stderr=subprocess.PIPE, timeout=SECONDS, check=False
    )
    assert (ended.returncode, ended.stderr) == (ExitCode.OK, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_without_standard_streams_is_recorded(closed, tmp_path):
    words = " ".join(arguments("run --target host --select xcrs.* --out run"))
    ended = subprocess.run(["sh", "-c", f"set -f; {words} {closed}"], cwd=tmp_path, check=False)
    assert ended.returncode == ExitCode.OK
    assert read_run(tmp_path / "run").ending is Ending.COMPLETE


@pytest.mark.parametrize("words", [["list"], ["man"], ["completion", "bash"], ["ops"]])
def test_a_command_that_only_prints_reports_a_failed_write(words):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            arguments(*words), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    expected = "kvmprobe: standard output: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (ExitCode.USAGE, expected)
