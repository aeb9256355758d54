"""A campaign on this machine's /dev/kvm whose client or scheduler is killed at any moment."""

import os
import random
import time

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.run_document import Ending, read_run
from tests.support.command import kvmprobe
from tests.support.fleet import Fleet, client, recorded

pytestmark = pytest.mark.kvm
# As in test_resume.
SELECT = ("--select", "xcrs.*", "--select", "fpu.set.*", "--select", "sregs.*")
RUN = ("run", "--target", "host", *SELECT)
VICTIMS = ("client", "scheduler")
KILLS = int(os.environ.get("KVMPROBE_TEST_KILLS", "2"))
SECONDS = 600


def outcomes(path):
    return {record.id: (record.verdict, record.known) for record in read_run(path).records}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("fleet")) as started:
        started.staff("KVM=1", "machine")
        yield started


@pytest.fixture(scope="module")
def whole(fleet, tmp_path_factory):
    """What a run without a fleet recorded, and how long a campaign takes in seconds."""
    folder = tmp_path_factory.mktemp("whole")
    kvmprobe(*RUN, "--out", str(folder / "run"))
    began = time.monotonic()
    fleet.completed(folder / "campaign", *RUN)
    assert outcomes(folder / "campaign") == outcomes(folder / "run")
    return outcomes(folder / "run"), time.monotonic() - began


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_campaign_goes_on_after_a_kill(fleet, whole, tmp_path, kill):
    expected, seconds = whole
    path, victim = tmp_path / "run", VICTIMS[kill % len(VICTIMS)]
    with client(*RUN, *fleet.options, "--out", str(path)) as running:
        time.sleep(random.Random(kill).uniform(0, seconds * 1.1))
        if victim == "client":
            running.kill()
        else:
            fleet.kill("scheduler")
            assert running.wait(timeout=SECONDS) in {*ExitCode}
            fleet.restart("KVM=1", "machine")
    before = recorded(path)
    assert fleet.completed(path, *RUN) in {ExitCode.OK, ExitCode.DIVERGED}
    ids = recorded(path)
    assert ids[: len(before)] == before
    assert len(ids) == len(set(ids))
    assert outcomes(path) == expected
    assert read_run(path).ending is Ending.COMPLETE
