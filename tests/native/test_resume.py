"""``kvmprobe resume`` after SIGKILL at any moment, and on file systems that are full."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.results.journal import read_entries
from kvmprobe.results.run_directory import JOURNAL, is_run_directory
from kvmprobe.results.run_document import Ending, read_run
from tests.support.command import kvmprobe

pytestmark = pytest.mark.kvm
# Small; some pass, known defects explain some, some cannot run here.  Once a guest
# ran, XINUSE is the CPU's own affair, and with it whether O2 shows.
SELECT = ["--select", "xcrs.*", "--select", "fpu.set.*", "--select", "sregs.*"]
MOMENTS = int(os.environ.get("KVMPROBE_TEST_KILLS", "10"))


def forked(*arguments: str) -> int:
    """Run the command in a child; return its pid."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(main(arguments))
    return pid


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed, and how long it took in seconds."""
    path = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    status(forked("run", "--target", "host", *SELECT, "--out", str(path)))
    return read_run(path), time.monotonic() - began


def outcomes(run):
    return {record.id: (record.verdict, record.known) for record in run.records}


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_killed_run_is_completed_with_one_record_for_each_scenario(whole, tmp_path, moment):
    run, seconds = whole
    path = tmp_path / "run"
    pid = forked("run", "--target", "host", *SELECT, "--out", str(path))
    time.sleep(random.Random(moment).uniform(0, seconds * 1.1))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if not is_run_directory(path):
        # It was killed before it had begun: the same command begins.
        status(forked("run", "--target", "host", *SELECT, "--out", str(path)))
    before = read_entries(path / JOURNAL)
    status(forked("resume", str(path)))
    entries = read_entries(path / JOURNAL)
    ids = [entry["record"]["id"] for entry in entries if entry["type"] == "result"]
    assert entries[: len(before)] == before
    assert len(ids) == len(set(ids))
    assert outcomes(read_run(path)) == outcomes(run)


def test_a_run_that_is_complete_stays_as_it_is(whole, tmp_path):
    path = tmp_path / "run"
    status(forked("run", "--target", "host", *SELECT, "--out", str(path)))
    run = read_run(path)
    status(forked("resume", str(path)))
    again = read_run(path)
    assert (again.records, again.ending) == (run.records, Ending.COMPLETE)


def test_reports_of_a_resumed_run_are_complete(whole, tmp_path):
    run, seconds = whole
    document = tmp_path / "run.json"
    command = ("run", "--target", "host", *SELECT, "--out", str(tmp_path / "run"))
    pid = forked(*command, "--json", str(document))
    time.sleep(seconds * 0.8)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    status(forked("resume", str(tmp_path / "run")))
    report = json.loads(document.read_text())
    assert {s["id"] for s in report["scenarios"]} == {record.id for record in run.records}


def test_an_interrupted_run_in_a_directory_prints_how_to_resume(tmp_path):
    path = tmp_path / "run"
    ended = kvmprobe("run", "--target", "host", "--timeout", "0.5", "--out", str(path))
    assert ended.returncode == ExitCode.RUN_TIMEOUT
    assert f"kvmprobe resume {path}" in ended.stderr


def test_a_resumed_run_may_have_another_deadline(tmp_path):
    path = tmp_path / "run"
    kvmprobe("run", "--target", "host", *SELECT, "--timeout", "0.2", "--out", str(path))
    again = kvmprobe("resume", str(path), "--timeout", "60")
    assert again.returncode in {ExitCode.OK, ExitCode.DIVERGED}
    assert read_run(path).ending is Ending.COMPLETE


def test_scenarios_that_the_catalogue_no_longer_has_are_named(tmp_path):
    path = tmp_path / "run"
    kvmprobe("run", "--target", "host", "--select", "xcrs.*", "--out", str(path))
    journal = path / JOURNAL
    journal.write_text(journal.read_text().replace('"planned":[', '"planned":["gone.for.good",'))
    ended = kvmprobe("resume", str(path))
    assert "get no record: gone.for.good" in ended.stderr


def test_a_record_of_a_scenario_that_the_catalogue_no_longer_has_is_kept(tmp_path):
    path = tmp_path / "run"
    kvmprobe("run", "--target", "host", "--select", "xcrs.*", "--out", str(path))
    journal = path / JOURNAL
    journal.write_text(journal.read_text().replace("xcrs.single.cpuid", "gone.for.good"))
    ended = kvmprobe("resume", str(path))
    assert ended.returncode in {ExitCode.OK, ExitCode.DIVERGED}, ended.stderr
    assert "gone.for.good" in {record.id for record in read_run(path).records}


def test_a_second_resume_at_the_same_time_is_refused(tmp_path):
    path = tmp_path / "run"
    kvmprobe("run", "--target", "host", "--select", "xcrs.*", "--out", str(path))
    with (path / JOURNAL).open("rb") as held:
        subprocess.run(["flock", "-n", str(held.fileno())], pass_fds=[held.fileno()], check=True)
        ended = kvmprobe("resume", str(path))
    assert (ended.returncode, "another kvmprobe is writing" in ended.stderr) == (
        ExitCode.USAGE,
        True,
    )


def test_without_out_a_run_is_kept_under_the_state_directory(tmp_path):
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    kvmprobe("run", "--target", "host", "--select", "xcrs.*", env=environment)
    (path,) = (tmp_path / "kvmprobe" / "runs").iterdir()
    assert read_run(path).ending is Ending.COMPLETE
