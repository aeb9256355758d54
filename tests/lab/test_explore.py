"""``kvmprobe explore`` on a real kernel whose defects are known."""

import json
import os
import re
import subprocess

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.run_directory import RunDirectory
from kvmprobe.search.atlas import Atlas, Order
from tests.support.command import COMMAND
from tests.support.fleet import Fleet

pytestmark = pytest.mark.lab
OPS = ("set-xsave", "set-xfd", "get-fpu", "run-immediate-exit")
CALLS = ["--kernel", "7.3.4", "--depth", "3", *(w for name in OPS for w in ("--ops", name))]


def timeless(levels):
    return [level | {"seconds": 0} for level in levels]


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    out = tmp_path_factory.mktemp("explore") / "run"
    words = [*COMMAND, "explore", *CALLS, "--out", str(out)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.DIVERGED, ended.stderr
    return out, json.loads((out / "explore.json").read_text())


def test_every_transition_is_made(explored):
    _, seen = explored
    assert seen["complete"]
    assert [level["made"] for level in seen["levels"]] == [
        level["transitions"] for level in seen["levels"]
    ]


def test_every_failure_is_one_of_a_known_defect(explored):
    _, seen = explored
    assert "O2" in {name for find in seen["finds"] for name in find["known"]}
    assert all(find["known"] for find in seen["finds"])


def test_each_find_fails_again_from_the_beginning(explored):
    out, seen = explored
    directory = RunDirectory.open(out)
    records = [entry["record"] for entry in directory.entries() if "record" in entry]
    directory.close()
    assert {record["id"] for record in records} == {find["name"] for find in seen["finds"]}
    assert {record["verdict"] for record in records} <= {"DIVERGED", "CRASHED"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("fleet")) as started:
        started.staff("LAB=1", "one", "two")
        yield started


def test_two_workers_make_together_what_one_machine_makes(explored, fleet, tmp_path):
    _, alone = explored
    words = [*COMMAND, "explore", *CALLS, *fleet.options, "--out", str(tmp_path / "run")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.DIVERGED, ended.stderr
    parts = sorted(folder.name for folder in tmp_path.glob("run/part-*"))
    assert parts == ["part-1-of-2", "part-2-of-2"]
    together = json.loads((tmp_path / "run" / "explore.json").read_text())
    assert together["complete"]
    assert timeless(together["levels"]) == timeless(alone["levels"])
    named = re.findall(r"^    (part-\d-of-2/scenarios/\S+)$", ended.stdout, re.MULTILINE)
    known = {name for find in alone["finds"] for name in find["known"]}
    assert set(re.findall(r"^  (\w+)$", ended.stdout, re.MULTILINE)) == known
    assert all((tmp_path / "run" / name).is_file() for name in named)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs")
def test_a_full_disk_leaves_what_was_found_on_the_terminal(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(tmp_path)], check=True)
    words = ["--kernel", "7.3.4", "--depth", "3", "--ops", "set-xsave", "--ops", "get-fpu"]
    try:
        ended = subprocess.run(
            [*COMMAND, "explore", *words, "--out", str(tmp_path / "run")],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert (ended.returncode, "No space left on device" in ended.stderr) == (ExitCode.USAGE, True)
    assert "Traceback" not in ended.stderr
    assert "transitions in" in ended.stdout


def test_the_atlas_shows_that_msrs_before_lapic_lose_the_tsc_deadline(tmp_path):
    # arch/x86/kvm/lapic.c: kvm_set_lapic_tscdeadline_msr ignores a write in another timer mode
    out = tmp_path / "atlas"
    words = ["--pairs", "--kernel", "7.3.4", "--ops", "set-lapic", "--ops", "set-msrs"]
    ended = subprocess.run(
        [*COMMAND, "explore", *words, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == ExitCode.OK, ended.stderr
    atlas = Atlas.read(out)
    (cell,) = [c for c in atlas.cells if c.name == "tsc-deadline lapic"]
    assert (cell.order, cell.differs) == (Order.SILENT, ("KVM_GET_MSRS(MSR 0x6e0)",))
    assert "KVM_SET_LAPIC" in (out / "cells" / "tsc-deadline.lapic.1.c").read_text()
    assert "tsc-deadline.lapic" in (out / "atlas.html").read_text()
