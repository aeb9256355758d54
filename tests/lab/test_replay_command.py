"""``kvmprobe replay`` of several documents on the emulated host."""

import subprocess

import pytest

from kvmprobe.errors import ExitCode
from kvmprobe.results.journal import EntryType
from kvmprobe.results.run_directory import RunDirectory
from tests.support.command import COMMAND

pytestmark = pytest.mark.lab
PASSING = ("fpu.get.init", "xcrs.single.cpuid", "guest.saved-avx.plain")


def test_documents_that_do_not_kill_the_host_run_in_one_boot(tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    for name in PASSING:
        document = subprocess.run(
            [*COMMAND, "explain", name, "--json"], capture_output=True, text=True, check=True
        ).stdout
        (folder / f"{name}.json").write_text(document)
    run = tmp_path / "run"
    ended = subprocess.run(
        [*COMMAND, "replay", "--target", "lab", "--out", str(run), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == ExitCode.OK, ended.stderr
    directory = RunDirectory.open(run)
    entries = list(directory.entries())
    directory.close()
    # Each boot gets the scenarios that are still to run, in one batch.
    batches = [entry["scenarios"] for entry in entries if entry["type"] == EntryType.INTENT.value]
    records = [entry["record"] for entry in entries if entry["type"] == EntryType.RESULT.value]
    assert [set(batch) for batch in batches] == [set(PASSING)]
    assert {record["id"]: record["verdict"] for record in records} == dict.fromkeys(PASSING, "PASS")
