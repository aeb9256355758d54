"""Forked machines: one job or several, cold or warm, killed or not, the records are the same."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace

import psutil
import pytest

from kvmprobe.errors import ExitCode, NoSpace
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.lab import saved as saved_templates
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.place import EmulatedHost, Startup
from kvmprobe.progress import Silent
from tests.support.emulators import children_of, emulators_among

KERNEL = "7.3.4"
# CPU time in which a fork finishes a scenario: most take a third of it.
FORK_SECONDS = 0.3
KILLS = int(os.environ.get("KVMPROBE_TEST_KILLS", "5"))


def is_wanted(scenario_id):
    """A restore matrix's column with fatal orders of O1, and guests that look at their state."""
    return scenario_id.endswith("perm-granted.xfd-armed.bv-tiles") or scenario_id.startswith(
        "guest.kept"
    )


def prepared(start=Startup.WARM, jobs=1):
    archives = Archives(Cache.from_environment())
    place = EmulatedHost.prepare(archives, KERNEL, None, Silent(), start=start)
    return replace(place, jobs=jobs)


def run(place):
    records = []
    Runner(place, Hazardous.EVERY, records.append, Silent()).run(is_wanted)
    return records


def timeless(records):
    """The records without what differs between two runs on one machine: times and addresses."""
    return [
        replace(r, duration=0.0, crash=r.crash and replace(r.crash, report="")) for r in records
    ]


@pytest.fixture(scope="module")
def cold():
    with prepared(Startup.COLD) as place:
        return timeless(run(place))


def test_hazardous_scenarios_go_to_their_crash(cold):
    crashed = [r for r in cold if r.crash]
    assert {r.known for r in crashed} == {("O1",)}
    assert len(crashed) > 3
    assert all(r.crash.step == len(r.steps) for r in crashed)


def test_two_jobs_give_the_records_of_one(cold):
    with prepared(jobs=2) as place:
        assert timeless(run(place)) == cold


def test_a_saved_machine_gives_the_records_of_a_boot(cold):
    with prepared() as place:  # saves it, unless an earlier run did
        place.open().__exit__()
    with prepared() as place:
        records = timeless(run(place))
        assert place.template.phases == []
    assert records == cold


def has_had_time(emulator):
    """Return True for a fork that has finished a scenario, and for a template with just such forks.

    A scenario whose host was killed three times is given up, and so is a template that was killed
    three times as it started.
    """
    if emulator.ppid() == os.getpid():
        forks = emulators_among(emulator.children())
        return bool(forks) and all(map(has_had_time, forks))
    times = emulator.cpu_times()
    return times.user + times.system > FORK_SECONDS


@contextmanager
def killer(chance):
    """Kill an emulator of this process again and again: a fork, or the template."""
    done = threading.Event()
    killed = []

    def kill():
        while not done.wait(chance.uniform(0.1, 0.8)):
            with suppress(psutil.NoSuchProcess, IndexError):
                emulators = emulators_among(children_of())
                chosen = chance.choice([p for p in emulators if has_had_time(p)])
                chosen.kill()
                killed.append(chosen.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        done.set()
        thread.join()


def test_killed_emulators_cost_no_record_and_add_none(cold):
    chance = random.Random(1)
    killed = 0
    while killed < KILLS:
        with prepared(jobs=2) as place, killer(chance) as hits:
            assert timeless(run(place)) == cold
        killed += len(hits)


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory):
    """A saved machine in a cache of its own, whose other folders are the user's."""
    folder, user = tmp_path_factory.mktemp("cache"), Cache.from_environment()
    for name in ("emulator", "guest-programs", "kernels", "sources", "apt", "debs", "pycache"):
        if (user.root / name).exists():
            (folder / name).symlink_to(user.root / name)
    archives = Archives(Cache(folder))
    with EmulatedHost.prepare(archives, KERNEL, None, Silent()) as place:
        place.open().__exit__()
    return archives


@pytest.fixture
def saved(saved_once):
    """A place with a saved machine, which is saved again if a test has spoiled it."""
    place = EmulatedHost.prepare(saved_once, KERNEL, None, Silent())
    if place.template.saved.booted() is None:
        place.open().__exit__()
        place.template.close()
        place = EmulatedHost.prepare(saved_once, KERNEL, None, Silent())
    return place


def boots(place):
    with place:
        place.open().__exit__()
        return len([p for p in place.template.phases if p.phase.value == "start"])


def test_a_saved_machine_needs_no_boot(saved):
    assert boots(saved) == 0


@pytest.mark.parametrize("name", ["memory.ram", "template.json"])
def test_a_damaged_machine_is_booted_again(saved, name):
    file = saved.template.saved.folder / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x55
    file.write_bytes(content)
    assert boots(saved) == 1


def test_a_machine_that_others_can_write_is_not_used(saved):
    saved.template.saved.folder.chmod(0o777)
    assert boots(saved) == 1  # and is saved in its place


def test_a_machine_that_cannot_be_restored_is_booted_again(saved):
    folder = saved.template.saved.folder
    (folder / "cpu0").write_bytes(b"")
    manifest = folder / "template.json"
    recorded = json.loads(manifest.read_bytes())
    manifest.write_text(json.dumps(recorded | {"files": saved_templates.hashes(folder)}))
    assert boots(saved) == 1


def test_without_room_the_run_goes_on_and_says_so(saved, monkeypatch):
    saved.template.saved.discard()
    full = NoSpace("a saved template needs 403 MB")
    monkeypatch.setattr(
        type(saved.template.saved), "require_space", lambda _: (_ for _ in ()).throw(full)
    )
    assert boots(saved) == 1
    assert saved.template.notes == [
        f"the booted machine was not saved, so the next run boots again: {full}"
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("phase", ["boot", "scenarios"])
def test_no_emulator_outlives_an_interrupted_run(tmp_path, phase, number):
    out = tmp_path / "run"
    cold = ["--cold"] if phase == "boot" else []
    words = ["run", "--kernel", KERNEL, "--jobs", "2", "--out", str(out), *cold]
    command = [sys.executable, "-m", "kvmprobe.cli.main", *words]
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(command, stdout=null, stderr=pipe, text=True) as process:
        wanted = "probing" if phase == "boot" else "scenarios"
        assert any(wanted in line for line in process.stderr)
        while not emulators_among(family := children_of(process.pid)):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        process.stderr.read()
    # kvmprobe handles both of the others.
    ended = -number if number == signal.SIGKILL else ExitCode.INTERRUPTED
    assert process.returncode == ended
    _, alive = psutil.wait_procs(family, 5.0)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]
