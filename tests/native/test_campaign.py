"""A campaign on this machine's /dev/kvm whose client or scheduler is killed at any moment."""

import os
import random
import time

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.run_directory import is_run_directory
from kvmprobe.results.run_document import Ending, read_run
from tests.support.command import kvmprobe
from tests.support.fleet import Fleet, client, recorded

pytestmark = pytest.mark.kvm
# As in test_resume.
SELECT = ["--select", "xcrs.*", "--select", "fpu.set.*", "--select", "sregs.*"]
VICTIMS = ("client", "scheduler")
KILLS = int(os.environ.get("KVMPROBE_TEST_KILLS", "2"))
SECONDS = 600


def outcomes(path):
    return {record.id: (record.verdict, record.known) for record in read_run(path).records}


def begin(fleet, path):
    return client("run", "--target", "host", *SELECT, *fleet.options, "--out", str(path))


def completed(fleet, path):
    """Begin or resume until the client is done; return the exit status."""
    if not is_run_directory(path):
        with begin(fleet, path) as running:
            return running.wait(timeout=SECONDS)
    resumed = kvmprobe("resume", str(path), "--scheduler", fleet.address, timeout=SECONDS)
    return resumed.returncode


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("fleet")) as started:
        started.start_worker("machine", "KVM=1")
        yield started


@pytest.fixture(scope="module")
def whole(fleet, tmp_path_factory):
    """What a run without a fleet recorded, and how long a campaign takes in seconds."""
    folder = tmp_path_factory.mktemp("whole")
    kvmprobe("run", "--target", "host", *SELECT, "--out", str(folder / "run"))
    began = time.monotonic()
    completed(fleet, folder / "campaign")
    assert outcomes(folder / "campaign") == outcomes(folder / "run")
    return outcomes(folder / "run"), time.monotonic() - began


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_campaign_goes_on_after_a_kill(fleet, whole, tmp_path, kill):
    expected, seconds = whole
    path, victim = tmp_path / "run", VICTIMS[kill % len(VICTIMS)]
    with begin(fleet, path) as running:
        time.sleep(random.Random(kill).uniform(0, seconds * 1.1))
        if victim == "client":
            running.kill()
        else:
            fleet.kill("scheduler")
            assert running.wait(timeout=SECONDS) in {*ExitCode}
            # What has lost its scheduler ends, and whoever looks after it starts it again.
            fleet.kill("machine")
            fleet.start_scheduler()
            fleet.start_worker("machine", "KVM=1")
    before = recorded(path)
    assert completed(fleet, path) in {ExitCode.OK, ExitCode.DIVERGED}
    ids = recorded(path)
    assert ids[: len(before)] == before
    assert len(ids) == len(set(ids))
    assert outcomes(path) == expected
    assert read_run(path).ending is Ending.COMPLETE
