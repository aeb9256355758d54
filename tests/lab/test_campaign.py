"""A campaign over two workers with TLS, both with the emulated host; one is killed."""

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.run_document import Ending, read_run
from scripts.same_records_main import timeless
from tests.support.command import kvmprobe
from tests.support.fleet import Fleet, certificates, client, recorded, wait_for

pytestmark = pytest.mark.lab
# Known defects explain some, and checkers compare the orders.
RUN = ("run", "--kernel", "7.3.4", "--jobs", "1", "--select", "restore.*.bv-tiles & restore.c*")
SECONDS = 600


def records(path):
    return {record.id: timeless(record) for record in read_run(path).records}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run that nothing disturbed recorded on this machine alone."""
    path = tmp_path_factory.mktemp("whole") / "run"
    kvmprobe(*RUN, "--out", str(path))
    return records(path)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("fleet")) as started:
        yield started


def test_a_killed_workers_shard_runs_elsewhere_and_nothing_is_lost_or_counted_twice(
    whole, fleet, tmp_path
):
    for name in ("one", "two"):
        fleet.start_worker(name, "LAB=1")
    path = tmp_path / "run"
    with client(*RUN, *fleet.options, "--out", str(path)) as running:
        victim = wait_for(
            "worker that has recorded something",
            lambda: next(
                (n for n in ("one", "two") for j in fleet.journals(n) if recorded(j.parent)), None
            ),
        )
        fleet.kill(victim)
        output, _ = running.communicate(timeout=SECONDS)
    assert running.returncode == ExitCode.DIVERGED, output
    assert len(recorded(path)) == len(set(recorded(path)))
    assert records(path) == whole
    assert read_run(path).ending is Ending.COMPLETE


def test_a_worker_with_the_certificate_of_another_fleet_gets_nothing(fleet, tmp_path):
    fleet.start_worker("stranger", "KVM=1", tls=certificates(tmp_path / "other"))
    wait_for("second attempt to connect", lambda: fleet.log("stranger").count("to connect") > 1)
    ended = kvmprobe(
        *("run", "--target", "host", "--select", "xcrs.*", *fleet.options, "--patience", "1"),
        *("--out", str(tmp_path / "run")),
        timeout=SECONDS,
    )
    assert ended.returncode == ExitCode.NOTHING_RAN
    assert "no worker with KVM came within 1 s" in ended.stderr
    assert "kvmprobe resume" in ended.stderr
    assert fleet.journals("stranger") == []


def test_a_client_with_the_certificate_of_another_fleet_is_refused(fleet, tmp_path):
    tls = certificates(tmp_path / "other")
    options = ("--scheduler", fleet.address, "--tls", str(tls))
    ended = kvmprobe(*RUN, *options, "--out", str(tmp_path / "run"), timeout=SECONDS)
    assert ended.returncode == ExitCode.NOTHING_RAN
    assert fleet.address in ended.stderr
