"""``kvmprobe fuzz`` on this host's /dev/kvm: a run, the same sequences again, mistakes, ^C."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.run_document import read_run
from tests.support.command import COMMAND, kvmprobe

pytestmark = pytest.mark.kvm
LOCAL = ["fuzz", "--target", "host", "--minutes", "0.01", "--reduce-seconds", "1"]
# Of the finds, how many are replayed.
REPLAYED = 2


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search without known defects, and its run: O2 shows on most hosts."""
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    corpus = folder.parent / "corpus"
    ended = kvmprobe(
        *LOCAL, "--from-scratch", "--seed", "1", "--corpus", str(corpus), "-o", str(folder)
    )
    return ended, folder, corpus


def test_a_search_judges_sequences_and_says_how_many(searched):
    ended, _, _ = searched
    assert ended.returncode in {ExitCode.OK, ExitCode.DIVERGED}, ended.stderr
    assert int(re.search(r"^(\d+) sequences", ended.stdout, re.MULTILINE)[1]) > 0


def replayable(find):
    """Return what find.json says, if the sequence fails again and replay can judge it."""
    data = json.loads((find / "find.json").read_text())
    unread = "replay cannot read" in (find / "find.txt").read_text()
    return data if data["reproduces"] and not unread else None


def test_a_find_has_a_directory_that_replay_takes(searched):
    _, folder, _ = searched
    finds = {find: replayable(find) for find in sorted((folder / "finds").glob("*"))}
    for find, data in [item for item in finds.items() if item[1]][:REPLAYED]:
        ended = kvmprobe("replay", "--target", "host", str(find / "reduced.json"))
        assert data["signature"]["kind"] in {"divergence", "finding"}
        assert ended.returncode == ExitCode.DIVERGED


def test_the_directory_is_a_run(searched):
    _, folder, _ = searched
    assert kvmprobe("diff", str(folder), str(folder)).returncode == ExitCode.OK


def test_the_run_says_how_the_search_grew(searched):
    ended, folder, _ = searched
    (growth,) = read_run(folder).growth.values()
    said = re.search(r"^(\d+) sequences, (\d+) calls", ended.stdout, re.MULTILINE)
    assert [growth.points[-1].sequences, growth.points[-1].calls] == [int(n) for n in said.groups()]


def test_the_corpus_is_read_again(searched, tmp_path):
    _, _, corpus = searched
    ended = kvmprobe(*LOCAL, "--corpus", str(corpus), "-o", str(tmp_path / "run"))
    assert ended.returncode in {ExitCode.OK, ExitCode.DIVERGED}, ended.stderr


def test_a_wrong_file_in_the_corpus_is_named_and_nothing_runs(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    ended = kvmprobe(*LOCAL, "--corpus", str(tmp_path), "-o", str(tmp_path / "run"))
    assert (ended.returncode, "bad.json" in ended.stderr) == (ExitCode.USAGE, True)
    assert not (tmp_path / "run").exists()


def test_no_time_is_refused():
    ended = kvmprobe("fuzz", "--minutes", "0")
    assert (ended.returncode, "minutes from 0.01" in ended.stderr) == (ExitCode.USAGE, True)


def test_an_interruption_writes_what_there_is(tmp_path):
    folder = tmp_path / "run"
    words = [*COMMAND, "fuzz", "--target", "host", "--minutes", "5", "-o", str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as search:
        for line in search.stderr:
            if b"sequences" in line and b" 0 sequences" not in line:
                break
        search.send_signal(signal.SIGINT)
        out, _ = search.communicate(timeout=60)
    (growth,) = read_run(folder).growth.values()
    said = f"{growth.points[-1].sequences} sequences".encode()
    assert (search.returncode, said in out) == (ExitCode.INTERRUPTED, True)
    assert kvmprobe("diff", str(folder), str(folder)).returncode == ExitCode.OK
