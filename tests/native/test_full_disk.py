"""A run's directory on a file system that is full, at whichever write that shows."""

from __future__ import annotations

import os
import subprocess

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.journal import read_entries
from kvmprobe.results.run_directory import JOURNAL, is_run_directory
from kvmprobe.results.run_document import Ending, read_run
from tests.support.command import kvmprobe

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs"),
]
RUN = ["run", "--target", "host", "--select", "xcrs.*"]
ROOM = 4096
# A page is the least that a tmpfs can grow by; the run needs about 30.
SIZES = [1, 3, 8, 16, 36]


def mount(*options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", *options], check=True)


@pytest.fixture
def disk(tmp_path):
    """Mounts a tmpfs of so many pages; it can grow later."""

    def make(pages):
        mount("-o", f"size={pages * 4}k", "tmpfs", str(tmp_path))
        return tmp_path

    yield make
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("pages", SIZES)
def test_a_full_disk_keeps_complete_entries_and_resume_runs_the_rest(disk, pages):
    root = disk(pages)
    path = root / "run"
    ended = kvmprobe(*RUN, "--out", str(path))
    is_full = "No space left on device" in ended.stderr
    assert is_full == (ended.returncode == ExitCode.USAGE), ended
    assert "Traceback" not in ended.stderr
    mount("-o", f"remount,size={ROOM}k", str(root))
    again = ["resume", str(path)] if is_run_directory(path) else [*RUN, "--out", str(path)]
    kvmprobe(*again)
    run = read_run(path)
    ids = [e["record"]["id"] for e in read_entries(path / JOURNAL) if e["type"] == "result"]
    assert (run.ending, sorted(ids)) == (Ending.COMPLETE, sorted(set(run.planned)))


def test_a_disk_that_fills_in_the_middle_names_what_to_do(disk):
    path = disk(12) / "run"
    ended = kvmprobe(*RUN, "--out", str(path))
    assert (ended.returncode, f"make room, then `kvmprobe resume {path}`" in ended.stderr) == (
        ExitCode.USAGE,
        True,
    ), ended.stderr


@pytest.mark.parametrize("report", [["--json"], ["--report"]])
def test_a_report_that_does_not_fit_leaves_the_run_to_be_reported_again(
    disk, tmp_path_factory, report
):
    root = disk(1)
    path = tmp_path_factory.mktemp("runs") / "run"
    file = str(root / "report")
    option = [*report, file if report == ["--json"] else f"jsonl={file}"]
    ended = kvmprobe(*RUN, "--out", str(path), *option)
    has_reason = "No space left on device" in ended.stderr
    assert (ended.returncode, has_reason) == (ExitCode.USAGE, True), ended.stderr
    assert read_run(path).ending is Ending.CUT_SHORT


def test_a_search_on_a_full_disk_says_so(disk):
    path = disk(8) / "run"
    words = ["--target", "host", "--minutes", "0.01", "--from-scratch", "--seed", "1"]
    words += ["--reduce-seconds", "1"]
    ended = kvmprobe("fuzz", *words, "--corpus", str(path.parent / "corpus"), "-o", str(path))
    assert (ended.returncode, "Traceback" in ended.stderr) == (ExitCode.USAGE, False), ended
    assert "No space left on device" in ended.stderr


def test_finds_that_do_not_fit_are_printed_and_the_corpus_elsewhere_is_kept(disk, tmp_path_factory):
    corpus = tmp_path_factory.mktemp("corpus")
    words = ["--target", "host", "--minutes", "0.02", "--from-scratch", "--seed", "1"]
    words += ["--reduce-seconds", "1"]
    ended = kvmprobe("fuzz", *words, "--corpus", str(corpus), "-o", str(disk(60) / "run"))
    assert (ended.returncode, "No space left" in ended.stderr) == (ExitCode.USAGE, True), ended
    _, _, document = ended.stdout.partition("takes it from a file with:\n")
    assert document.startswith("{\n")
    assert list(corpus.iterdir())
