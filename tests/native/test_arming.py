"""kernel.panic of this host, changed and restored; nothing else is touched."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kvmprobe.execution.arming import armed, disarm, leftover

SETTING = Path("/proc/sys/kernel/panic")
# A host that reboots some other time after a panic: harmless while it does not panic.
OTHER = {"kernel.panic": 97}
PROGRAM = """
import sys, time
from pathlib import Path
from kvmprobe.execution.arming import armed
with armed({"kernel.panic": 97}, lambda line: None, Path(sys.argv[1])):
    print("armed", flush=True)
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(
    not os.access(SETTING, os.W_OK), reason="kernel.panic is for root to change"
)


def value():
    return SETTING.read_text().strip()


@pytest.fixture(autouse=True)
def before():
    # Other sessions of these tests on this host wait.
    with (Path(tempfile.gettempdir()) / "kvmprobe-test-arming.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        was = value()
        yield was
        if value() != was:
            SETTING.write_text(was)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "armed.json"


@pytest.fixture
def run(state):
    with subprocess.Popen([sys.executable, "-c", PROGRAM, state], stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"armed\n"
        yield run
        run.kill()


def test_the_kernels_setting_is_changed_and_restored(before, state):
    with armed(OTHER, print, state):
        assert value() == "97"
    assert value() == before


def test_the_setting_of_a_run_that_was_killed_is_restored_by_the_next(before, state, run):
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert value() == "97"
    left = leftover(state)
    assert (left.pid, [str(change) for change in left.changes]) == (
        run.pid,
        [f"kernel.panic=97 (was {before})"],
    )
    disarm(print, state)
    assert (value(), leftover(state)) == (before, None)


def test_an_interrupted_run_restores_by_itself(before, state, run):
    run.send_signal(signal.SIGINT)
    run.wait()
    assert (value(), state.exists()) == (before, False)


def test_a_value_that_the_kernel_refuses_changes_nothing(before, state):
    # kernel/sysctl.c: proc_dointvec takes no value that an int does not hold.
    with pytest.raises(Exception, match="EINVAL"), armed({"kernel.panic": 1 << 40}, print, state):
        pass
    assert (value(), state.exists()) == (before, False)
