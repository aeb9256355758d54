"""A disk that outlives the emulated host's panics, and kvmprobe on it, as users type it."""

import os
import shutil
import subprocess

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.lab.program import PANIC_STATUS
from kvmprobe.results.run_document import read_run
from kvmprobe.results.verdict import Verdict
from tests.support.command import kvmprobe

pytestmark = pytest.mark.lab
OLDEST, NEWEST = "6.1", "7.3.4"
SYSTEM_TOOLS = f"{os.environ['PATH']}:/usr/sbin:/sbin"
WRITE_AND_PANIC = """
read id < /proc/sys/kernel/random/boot_id
echo $id > /mnt/x/boot; echo synchronised > /mnt/x/file; sync
echo c > /proc/sysrq-trigger
"""
LOOK = "read id < /proc/sys/kernel/random/boot_id; echo $id; cat /mnt/x/boot /mnt/x/file"
# Two scenarios.  One hands over tiles with XFD=0 and arms XFD then, which panics 7.3.4: O1.
FATAL = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"
OTHER = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-zero.bv-tiles"
MOST_BOOTS = 6


def run(*words):
    return kvmprobe(*map(str, words))


def on_disk(disk, *words, kernel=NEWEST, options=()):
    disk = ("--disk", disk, "--disk-size", 64)
    return run("lab", "exec", "--kernel", kernel, *disk, *options, "--", *words)


def e2fs(tool, *words):
    command = [shutil.which(tool, path=SYSTEM_TOOLS), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def verdicts(path):
    return {record.id: record.verdict for record in read_run(path).records}


@pytest.fixture(scope="module")
def panicked(tmp_path_factory):
    """Return the disk, the program that panicked, what it left, the next boot, its kernel's log."""
    folder = tmp_path_factory.mktemp("disk")
    image, log = folder / "disk.img", folder / "log"
    options = ("--file", "/bin/cat", "--file", "/bin/sync", "--kernel-log", log)
    place = f"{image}:/mnt/x"
    first = on_disk(place, "sh", "-c", WRITE_AND_PANIC, kernel=OLDEST, options=options)
    left = e2fs("dumpe2fs", "-h", image)
    second = on_disk(place, "sh", "-c", LOOK, kernel=OLDEST, options=options)
    return image, first, left, second, log.read_text()


def test_a_panic_is_told_and_leaves_the_journal_to_be_recovered(panicked):
    _, first, left, *_ = panicked
    assert first.returncode == PANIC_STATUS, first.stderr
    assert "needs_recovery" in left


def test_the_next_boot_recovers_the_journal(panicked):
    *_, second, log = panicked
    assert second.returncode == 0, second.stderr
    assert "EXT4-fs (sda): recovery complete" in log


def test_what_was_synchronised_before_the_panic_is_there(panicked):
    *_, second, _ = panicked
    assert second.stdout.splitlines()[2:] == ["synchronised"]


def test_the_reboot_is_a_real_one(panicked):
    *_, second, _ = panicked
    now, then = second.stdout.splitlines()[:2]
    assert len(now) == len(then) == 36  # UUIDs
    assert now != then


def test_a_program_that_ends_leaves_the_disk_clean(panicked):
    features = e2fs("dumpe2fs", "-h", panicked[0])
    assert "has_journal" in features
    assert "needs_recovery" not in features


def test_files_can_be_read_on_this_host(panicked):
    assert e2fs("debugfs", "-R", "cat /file", panicked[0]) == "synchronised\n"


def test_a_run_that_panicked_is_resumed_after_a_reboot(tmp_path):
    disk = tmp_path / "disk.img"
    select = ("--observe", "each", "--select", FATAL, "--select", OTHER)
    words = ("run", "--target", "host", "--hazardous", *select, "--out", "/disk/run")
    ended = on_disk(disk, "kvmprobe", *words)
    assert ended.returncode == PANIC_STATUS, ended.stderr
    boots = 1
    while ended.returncode == PANIC_STATUS and boots < MOST_BOOTS:
        ended = on_disk(disk, "kvmprobe", "resume", "/disk/run")
        boots += 1
    assert ended.returncode == ExitCode.DIVERGED, ended.stderr
    e2fs("debugfs", "-R", f"rdump /run {tmp_path}", disk)
    assert verdicts(tmp_path / "run") == {OTHER: Verdict.PASS, FATAL: Verdict.CRASHED}


def test_a_script_can_call_kvmprobe():
    options = ("--kernel", NEWEST, "--with-kvmprobe")
    ended = run("lab", "exec", *options, "--", "sh", "-c", "kvmprobe --version; exit 7")
    assert ended.returncode == 7, ended.stderr
    assert ended.stdout.startswith("kvmprobe ")
