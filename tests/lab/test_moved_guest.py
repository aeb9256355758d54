"""A guest that is saved on the emulated host goes on there in another process and order."""

import subprocess

import pytest

from kvmprobe.errors import ExitCode
from tests.support.command import COMMAND

pytestmark = pytest.mark.lab


def kvmprobe(*words):
    command = [*COMMAND, *map(str, words), "--target", "lab"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_guest_in_its_handler_of_nm_goes_on(tmp_path):
    file = tmp_path / "guest.json"
    saved = kvmprobe("save", "-o", file, "--use", "in-nm", "--order", "qemu-full")
    assert saved.returncode == ExitCode.OK, saved.stderr
    restored = kvmprobe("restore", file, "--order", "crosvm")
    assert restored.returncode == ExitCode.OK, restored.stdout + restored.stderr
    assert "the guest found all 13 pieces of its state" in restored.stdout
