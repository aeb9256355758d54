"""A campaign on the kernels of two machines, one of which goes down and comes back, or not.

Both are this one: workers with an address and a state directory of their own.  Another boot is
another boot id in the journal that the machine had.
"""

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.journal import EntryType, read_entries
from kvmprobe.results.run_directory import JOURNAL
from kvmprobe.results.run_document import Ending, read_run
from tests.support.command import kvmprobe
from tests.support.fleet import Fleet, client, recorded, wait_for

pytestmark = pytest.mark.kvm
# As in test_resume.
SELECT = ("--select", "xcrs.*", "--select", "fpu.set.*", "--select", "sregs.*")
RUN = ("run", "--target", "host", *SELECT)
MACHINES = {"one": "127.0.0.2", "two": "127.0.0.3"}
SECONDS = 600


def outcomes(path):
    return {record.id: (record.verdict, record.known) for record in read_run(path).records}


def entries(journal, kind):
    return [entry for entry in read_entries(journal) if entry["type"] == kind.value]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    kvmprobe(*RUN, "--out", str(path))
    return outcomes(path)


@pytest.fixture
def fleet(tmp_path):
    with Fleet(tmp_path) as started:
        for name, host in MACHINES.items():
            started.start_worker(name, "KVM=1", host=host)
        yield started


def goes_down(fleet, shard=1):
    """Crash the first machine that runs a shard with that number; return name and journal."""

    def runs(journal):
        kinds = [EntryType(entry["type"]) for entry in read_entries(journal)]
        begun = [place for place, kind in enumerate(kinds) if kind is EntryType.BEGIN]
        return len(begun) >= shard and EntryType.INTENT in kinds[begun[-1] :]

    def running():
        return [(n, j) for n in MACHINES for j in fleet.journals(n) if runs(j)]

    name, journal = wait_for("machine that runs something", running)[0]
    fleet.crash(name)
    return name, journal


def test_a_machine_that_comes_back_says_what_was_running(fleet, whole, tmp_path):
    path = tmp_path / "run"
    with client(*RUN, *fleet.options, "--out", str(path)) as running:
        name, journal = goes_down(fleet, shard=2)
        *_, last = entries(journal, EntryType.INTENT)
        suspects = {*last["scenarios"]} - {*recorded(journal.parent)}
        boot = entries(journal, EntryType.BEGIN)[-1]["boot_id"]
        journal.write_bytes(journal.read_bytes().replace(boot.encode(), b"before"))
        kept = tmp_path / "journal"
        kept.hardlink_to(journal)  # the worker removes it when the campaign is complete
        fleet.start_worker(name, "KVM=1", host=MACHINES[name])
        output, _ = running.communicate(timeout=SECONDS)
    assert running.returncode in {ExitCode.OK, ExitCode.DIVERGED}, output
    assert outcomes(path) == whole
    assert len(recorded(path)) == len(set(recorded(path)))
    assert entries(path / JOURNAL, EntryType.LOST) == []
    intents = [entry["scenarios"] for entry in entries(kept, EntryType.INTENT)]
    assert {i for (i,) in filter(lambda batch: len(batch) == 1, intents)} >= suspects


def test_a_machine_that_stays_away_is_done_without(fleet, whole, tmp_path):
    path = tmp_path / "run"
    with client(*RUN, *fleet.options, "--patience", "3", "--out", str(path)) as running:
        goes_down(fleet)
        output, _ = running.communicate(timeout=SECONDS)
    assert running.returncode in {ExitCode.OK, ExitCode.DIVERGED}, output
    assert outcomes(path) == whole
    assert len(recorded(path)) == len(set(recorded(path)))
    assert read_run(path).ending is Ending.COMPLETE
    assert "was lost during a shard, and has not come back" in " ".join(read_run(path).notes)
    lost = [i for entry in entries(path / JOURNAL, EntryType.LOST) for i in entry["scenarios"]]
    assert len(lost) == len(set(lost))
