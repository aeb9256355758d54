"""``kvmprobe explore`` on a real kernel whose defects are known."""

import json
import os
import subprocess

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.run_directory import RunDirectory
from kvmprobe.search.atlas import Atlas, Order
from tests.support.command import COMMAND

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    out = tmp_path_factory.mktemp("explore") / "run"
    calls = [
        word
        for name in ("set-xsave", "set-xfd", "get-fpu", "run-immediate-exit")
        for word in ("--ops", name)
    ]
    ended = subprocess.run(
        [*COMMAND, "explore", "--kernel", "7.3.4", "--depth", "3", *calls, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
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
