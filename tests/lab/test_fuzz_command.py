"""``kvmprobe fuzz`` on the emulated host: what a search that knows nothing finds, and reduces."""

import json
import subprocess

import pytest

from kvmprobe.errors import ExitCode
from tests.support.command import COMMAND

pytestmark = pytest.mark.lab


def finds(tmp_path, *words):
    """Search for a few seconds; return what each find's document says, with its directory."""
    folder = tmp_path / "run"
    fuzz = ("fuzz", "--target", "lab", "--seed", "1", "--reduce-seconds", "8", "-o", str(folder))
    ended = subprocess.run([*COMMAND, *fuzz, *words], capture_output=True, text=True, check=False)
    assert ended.returncode in {ExitCode.OK, ExitCode.DIVERGED}, ended.stderr
    found = sorted((folder / "finds").glob("*/find.json"))
    return [(json.loads(file.read_text()), file.parent) for file in found]


def test_a_defect_is_found_from_scratch_and_is_reproduced_from_its_document(tmp_path):
    found = finds(tmp_path, "--minutes", "0.3", "--from-scratch")
    small = [(data, folder) for data, folder in found if data["known"] == ["O2"]]
    # At best open, VM, vCPU, KVM_SET_FPU, and a read.
    assert min(data["steps"] for data, _ in small) <= 8
    _, folder = small[0]
    replayed = subprocess.run(
        [*COMMAND, "replay", "--target", "lab", str(folder / "reduced.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (replayed.returncode, "known, O2" in replayed.stdout) == (ExitCode.DIVERGED, True)
    assert {"find.txt", "original.json", "reproducer.c"} <= {f.name for f in folder.iterdir()}


def test_known_defects_leave_nothing_to_find(tmp_path):
    assert [data["signature"] for data, _ in finds(tmp_path, "--minutes", "0.2")] == []
