import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvmprobe.errors import NoSpace, UsageError
from kvmprobe.lab.cache import Cache, disk_full_as_no_space, require_space
from kvmprobe.progress import Silent

HOLDER = """
import sys, time
from pathlib import Path
from kvmprobe.lab.cache import Cache
from kvmprobe.progress import Silent
with Cache(Path(sys.argv[1])).locked("the emulator", Silent()):
    print("held", flush=True)
    sys.stdin.read()
"""
SCRATCHER = """
import os, sys
from pathlib import Path
from kvmprobe.lab.cache import Cache
with Cache(Path(sys.argv[1])).scratch() as work:
    (work / "half").write_text("x")
    print(work, flush=True)
    sys.stdin.read()
"""
INCREMENTER = """
import sys, time
from pathlib import Path
from kvmprobe.lab.cache import Cache
from kvmprobe.progress import Silent
counter = Path(sys.argv[1]) / "counter"
for _ in range(20):
    with Cache(Path(sys.argv[1])).locked("counter", Silent()):
        seen = int(counter.read_text())
        time.sleep(0.002)
        counter.write_text(str(seen + 1))
"""


def started(script, cache):
    cache.folder()
    return subprocess.Popen(
        [sys.executable, "-c", script, str(cache.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )


def test_kvmprobe_cache_wins_over_everything():
    environ = {"KVMPROBE_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}
    assert Cache.from_environment(environ).root == Path("/a")


def test_xdg_cache_home_is_used_when_absolute():
    assert Cache.from_environment({"XDG_CACHE_HOME": "/b"}).root == Path("/b/kvmprobe")


def test_relative_xdg_cache_home_is_ignored():
    environ = {"XDG_CACHE_HOME": "b", "HOME": "/c"}
    assert Cache.from_environment(environ).root == Path("/c/.cache/kvmprobe")


def test_relative_kvmprobe_cache_becomes_absolute():
    assert Cache.from_environment({"KVMPROBE_CACHE": "x"}).root == Path.cwd() / "x"


def test_unwritable_cache_names_the_variable(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="KVMPROBE_CACHE"):
        Cache(tmp_path / "file").folder("x")


def test_two_processes_never_hold_one_lock_together(cache):
    (cache.folder() / "counter").write_text("0")
    racers = [started(INCREMENTER, cache) for _ in range(2)]
    for racer in racers:
        racer.communicate()
    assert (cache.root / "counter").read_text() == "40"


def test_a_held_lock_is_reported_with_the_pid_of_its_holder(cache, listener):
    class Stop(Exception):
        pass

    class Stopper:
        def stage(self, text):
            listener.stage(text)
            raise Stop

        def advance(self, done, total):
            pass

    with started(HOLDER, cache) as holder:
        holder.stdout.readline()
        with pytest.raises(Stop), cache.locked("the emulator", Stopper()):
            pass
        holder.stdin.close()
    message = f"waiting for another kvmprobe (pid {holder.pid}), which is building the emulator"
    assert listener.stages == [message]


def test_a_lock_of_a_killed_process_is_free(cache, listener):
    with started(HOLDER, cache) as holder:
        holder.stdout.readline()
        holder.kill()
    with cache.locked("the emulator", listener):
        pass
    assert listener.stages == []


def test_scratch_of_a_killed_process_is_removed(cache):
    with started(SCRATCHER, cache) as dying:
        left = Path(dying.stdout.readline().strip())
        dying.kill()
    assert left.exists()
    with cache.scratch():
        assert not left.exists()


def test_scratch_of_a_living_process_stays(cache):
    with started(SCRATCHER, cache) as living:
        work = Path(living.stdout.readline().strip())
        with cache.scratch():
            assert (work / "half").exists()
        living.stdin.close()


def test_scratch_is_removed_after_a_failure(cache):
    with pytest.raises(RuntimeError), cache.scratch() as work:
        raise RuntimeError
    assert not work.exists()


def test_publish_replaces_an_older_directory(cache):
    for content in ("old", "new"):
        with cache.scratch() as work:
            (work / "tree").mkdir()
            (work / "tree" / "file").write_text(content)
            cache.publish(work / "tree", cache.root / "kept")
    assert (cache.root / "kept" / "file").read_text() == "new"
    assert list((cache.root / "tmp").iterdir()) == []


def test_publish_replaces_an_older_file(cache):
    for content in ("old", "new"):
        with cache.scratch() as work:
            (work / "file").write_text(content)
            cache.publish(work / "file", cache.root / "kept")
    assert (cache.root / "kept").read_text() == "new"


def test_too_little_space_is_reported_with_figures_and_a_remedy(tmp_path):
    with pytest.raises(NoSpace, match=r"emulator needs 1000000000 MB in .*free.*KVMPROBE_CACHE"):
        require_space(tmp_path / "not" / "there", 10**15, "the emulator")


def test_enough_space_passes(tmp_path):
    assert require_space(tmp_path, 1, "a byte") is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_becomes_no_space(tmp_path, number):
    with (
        pytest.raises(NoSpace, match="KVMPROBE_CACHE"),
        disk_full_as_no_space(tmp_path, "a kernel"),
    ):
        raise OSError(number, os.strerror(number))


def test_other_system_errors_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), disk_full_as_no_space(tmp_path, "a kernel"):
        raise PermissionError(errno.EACCES, "no")


def test_a_full_file_system_is_reported():
    full = Path("/dev/full")
    with pytest.raises(NoSpace), disk_full_as_no_space(full, "a test"), full.open("wb", 0) as file:
        file.write(b"x")


def test_lock_names_may_hold_slashes(cache):
    with cache.locked("a/b c", Silent()):
        assert [path.name for path in (cache.root / "locks").iterdir()] == ["a_b_c.lock"]
