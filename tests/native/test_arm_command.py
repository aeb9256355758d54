"""``kvmprobe run --arm`` and ``probe --disarm``; only kernel.panic is changed."""

import signal
import subprocess
import time

import pytest

from kvmprobe.errors import ExitCode
from tests.support.command import COMMAND
from tests.support.panic_setting import CHANGEABLE, OTHER, borrowed, value

RUN = [*COMMAND, "run", "--target", "host", "--known", "xfail"]
ARM = ["--arm", f"panic={OTHER}"]
SOME = ["--select", "xcrs.*"]

pytestmark = pytest.mark.skipif(not CHANGEABLE, reason="kernel.panic is for root to change")


@pytest.fixture(autouse=True)
def before():
    with borrowed() as was:
        yield was


@pytest.fixture
def armed_run(tmp_path):
    """A run of the whole catalogue, armed and going on."""
    command = [*RUN, *ARM, "--out", str(tmp_path / "long")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        while value() != OTHER and run.poll() is None:
            time.sleep(0.01)
        assert run.poll() is None
        yield run
        run.send_signal(signal.SIGINT)
        run.communicate()


def kvmprobe(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_run_says_what_it_changes_and_what_it_restores(before, tmp_path):
    ended = kvmprobe(*RUN, *ARM, *SOME, "--out", tmp_path / "run")
    assert ended.returncode == ExitCode.OK, ended.stderr
    said = [line for line in ended.stderr.splitlines() if "kernel.panic" in line]
    assert said == [
        f"kvmprobe: armed: kernel.panic={OTHER} (was {before})",
        f"kvmprobe: restored: kernel.panic={before}",
    ]
    assert value() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_interrupted_restores(before, armed_run, number):
    armed_run.send_signal(number)
    armed_run.communicate(timeout=30)
    assert (armed_run.returncode, value()) == (ExitCode.INTERRUPTED, before)


def test_a_run_whose_time_is_up_restores(before, tmp_path):
    ended = kvmprobe(*RUN, *ARM, "--timeout", "0.01", "--out", tmp_path / "run")
    assert (ended.returncode, value()) == (ExitCode.RUN_TIMEOUT, before)


def test_the_next_run_restores_the_setting_of_a_killed_one(before, armed_run, tmp_path):
    armed_run.kill()
    armed_run.wait()
    kvmprobe(*RUN, *SOME, "--out", tmp_path / "next")
    assert value() == before


def test_probe_restores_the_setting_of_a_killed_run(before, armed_run):
    armed_run.kill()
    armed_run.wait()
    assert kvmprobe(*COMMAND, "probe", "--disarm").returncode == ExitCode.OK
    assert value() == before


def test_a_second_armed_run_is_refused(armed_run, tmp_path):
    ended = kvmprobe(*RUN, "--arm", "panic=98", *SOME, "--out", tmp_path / "second")
    assert (ended.returncode, value()) == (ExitCode.NOTHING_RAN, OTHER)
    assert "another kvmprobe run has armed this host" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--arm", "vm.swappiness=1"], "valid: kernel.panic"),
        (["--arm", "panic=soon"], "must be a number"),
        (["--arm", "--target", "lab"], "does not apply to the emulated one"),
    ],
)
def test_a_run_that_cannot_be_armed_is_a_usage_error_and_leaves_no_directory(
    before, tmp_path, arguments, said
):
    path = tmp_path / "run"
    ended = kvmprobe(*COMMAND, "run", *arguments, "--out", path)
    assert (ended.returncode, path.exists(), value()) == (ExitCode.USAGE, False, before)
    assert said in ended.stderr
