"""``kvmprobe fuzz --scheduler`` on this machine's /dev/kvm, with two workers."""

import signal

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.run_document import Ending, read_run
from tests.support.command import kvmprobe
from tests.support.fleet import Fleet, client, wait_for

pytestmark = pytest.mark.kvm
SECONDS = 300
FUZZ = ("fuzz", "--target", "host", "--seed", "5")


@pytest.fixture
def fleet(tmp_path):
    with Fleet(tmp_path / "fleet") as started:
        started.staff("KVM=1", "one", "two")
        yield started


def begun(fleet, name):
    """Return the journals of searches that a worker has begun."""
    return [path for path in fleet.journals(name) if "growth" in path.read_text()]


def test_each_worker_searches_with_its_own_seed(fleet, tmp_path):
    path = tmp_path / "campaign"
    ended = kvmprobe(
        *(*FUZZ, "--minutes", "0.01", *fleet.options, "--out", str(path)), timeout=SECONDS
    )
    runs = sorted(folder.name for folder in path.iterdir())
    assert runs == ["seed-5", "seed-6"], ended.stderr
    assert ended.returncode == ExitCode.OK, ended.stdout
    assert ended.stdout.count("sequences in") == len(runs)
    assert all(read_run(path / name).ending is Ending.COMPLETE for name in runs)


def test_what_is_left_of_a_campaign_is_kept_when_it_is_interrupted(fleet, tmp_path):
    path = tmp_path / "campaign"
    words = (*FUZZ, "--minutes", "30", *fleet.options, "--out", str(path))
    with client(*words) as running:
        for name in ("one", "two"):
            wait_for(f"search of {name}", lambda name=name: begun(fleet, name))
        fleet.crash("two")
        wait_for("loss of a worker", lambda: "two" not in fleet.processes)
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=SECONDS)
    assert running.returncode == ExitCode.INTERRUPTED, output
    assert "on one: " in output
    (run,) = path.iterdir()
    assert read_run(run).ending is Ending.CUT_SHORT
    assert f"{run.name} on one: " in output
