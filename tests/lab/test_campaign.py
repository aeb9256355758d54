"""A campaign over two workers with TLS, both with the emulated host; something is killed."""

import os
import random
import time

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.run_document import Ending, read_run
from scripts.same_records_main import timeless
from tests.support.command import kvmprobe
from tests.support.emulators import children_of, emulators_among
from tests.support.fleet import Fleet, certificates, client, recorded, wait_for

pytestmark = pytest.mark.lab
# Known defects explain some, and checkers compare the orders.
RUN = ("run", "--kernel", "7.3.4", "--jobs", "1", "--select", "restore.*.bv-tiles & restore.c*")
SECONDS = 600
WORKERS = ("one", "two")
VICTIMS = ("emulator", "worker", "client", "scheduler")
KILLS = int(os.environ.get("KVMPROBE_TEST_KILLS", "1"))


def records(path):
    return {record.id: timeless(record) for record in read_run(path).records}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run that nothing disturbed recorded on this machine alone, and how long it took."""
    path = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    kvmprobe(*RUN, "--out", str(path))
    return records(path), time.monotonic() - began


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("fleet")) as started:
        yield started


@pytest.fixture
def staffed(fleet):
    """The fleet with both workers."""
    fleet.staff("LAB=1", *WORKERS)
    return fleet


def test_a_killed_workers_shard_runs_elsewhere_and_nothing_is_lost_or_counted_twice(
    whole, staffed, tmp_path
):
    path = tmp_path / "run"
    with client(*RUN, *staffed.options, "--out", str(path)) as running:
        victim = wait_for(
            "worker that has recorded something",
            lambda: next(
                (n for n in WORKERS for j in staffed.journals(n) if recorded(j.parent)), None
            ),
        )
        staffed.kill(victim)
        output, _ = running.communicate(timeout=SECONDS)
    assert running.returncode == ExitCode.DIVERGED, output
    assert len(recorded(path)) == len(set(recorded(path)))
    assert records(path) == whole[0]
    assert read_run(path).ending is Ending.COMPLETE


def emulators(fleet):
    return [e for name in WORKERS for e in emulators_among(children_of(fleet.pid(name)))]


def strike(fleet, victim, running, chance):
    """Kill something; there is an emulator as soon as a shard has begun."""
    match victim:
        case "emulator":
            wait_for("emulator", lambda: running.poll() is not None or emulators(fleet))
            if alive := emulators(fleet):
                chance.choice(alive).kill()
        case "worker":
            fleet.kill(chance.choice(WORKERS))
        case "client":
            running.kill()
        case "scheduler":
            fleet.kill("scheduler")
            assert running.wait(timeout=SECONDS) in {*ExitCode}
            fleet.restart("LAB=1", *WORKERS)


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_kill_at_any_moment_costs_no_record_and_adds_none(whole, staffed, tmp_path, kill):
    expected, seconds = whole
    path, chance, victim = tmp_path / "run", random.Random(kill), VICTIMS[kill % len(VICTIMS)]
    with client(*RUN, *staffed.options, "--out", str(path)) as running:
        time.sleep(chance.uniform(0, seconds))
        strike(staffed, victim, running, chance)
        running.communicate(timeout=SECONDS)
    before = recorded(path)
    if victim in {"client", "scheduler"}:
        assert staffed.completed(path, *RUN) == ExitCode.DIVERGED
    after = recorded(path)
    assert after[: len(before)] == before
    assert len(after) == len(set(after))
    assert records(path) == expected
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
