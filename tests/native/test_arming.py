"""kernel.panic of this host, changed and restored; nothing else is touched."""

import signal
import subprocess
import sys

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.host.arming import armed, disarm, unrestored
from tests.support.panic_setting import CHANGEABLE, OTHER, borrowed, value

PROGRAM = """
import sys, time
from pathlib import Path
from kvmprobe.host.arming import armed
with armed({"kernel.panic": 97}, lambda line: None, Path(sys.argv[1])):
    print("armed", flush=True)
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(not CHANGEABLE, reason="kernel.panic is for root to change")


@pytest.fixture(autouse=True)
def before():
    with borrowed() as was:
        yield was


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
    with armed({"kernel.panic": OTHER}, print, state):
        assert value() == OTHER
    assert value() == before


def test_the_setting_of_a_run_that_was_killed_is_restored_by_the_next(before, state, run):
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert value() == OTHER
    left = unrestored(state)
    assert (left.pid, [str(change) for change in left.changes]) == (
        run.pid,
        [f"kernel.panic={OTHER} (was {before})"],
    )
    disarm(print, state)
    assert (value(), unrestored(state)) == (before, None)


def test_an_interrupted_run_restores_by_itself(before, state, run):
    run.send_signal(signal.SIGINT)
    run.wait()
    assert (value(), state.exists()) == (before, False)


def test_a_value_that_the_kernel_refuses_changes_nothing(before, state):
    # kernel/sysctl.c: proc_dointvec takes no value that an int does not hold.
    too_large = {"kernel.panic": 1 << 40}
    with pytest.raises(UsageError, match="EINVAL"), armed(too_large, print, state):
        pass
    assert (value(), state.exists()) == (before, False)
