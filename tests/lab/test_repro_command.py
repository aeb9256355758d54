"""``kvmprobe repro``: its programs show the known defects where they are, and only there."""

import subprocess

import pytest

from kvmprobe.errors import ExitCode
from tests.support.command import COMMAND

pytestmark = pytest.mark.lab
REPRO = [*COMMAND, "repro"]
O1 = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"
O2 = "fpu.set.first"
O3 = "restore.xsave-xcrs-msrs-cpuid.perm-granted.xfd-armed.bv-legacy"
B1 = "restore.cpuid-xcrs-msrs-xsave.perm-granted.xfd-armed.bv-tiles"
B4 = "restore.cpuid-xcrs-msrs-xsave.perm-none.xfd-zero.bv-zero"


def repro(folder, *arguments):
    ended = subprocess.run(
        [*REPRO, "--output", str(folder / "repro.c"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("scenario", [O1, O2, O3], ids=["O1", "O2", "O3"])
def test_open_defects_reproduce_on_the_newest_kernel(tmp_path, scenario):
    status, said = repro(tmp_path, scenario, "--kernel", "7.3.4")
    assert status == ExitCode.OK, said
    assert "7.3.4: reproduced" in said


@pytest.mark.parametrize(
    ("scenario", "kernel"), [(B1, "6.12.43"), (B4, "6.1.192")], ids=["B1", "B4"]
)
def test_fixed_defects_reproduce_on_the_old_kernel_only(tmp_path, scenario, kernel):
    status, said = repro(tmp_path, scenario, "--kernel", kernel, "--not-on", "7.3.4")
    assert status == ExitCode.OK, said
    assert f"{kernel}: reproduced" in said
    assert "7.3.4: not reproduced" in said


def test_a_program_that_does_not_reproduce_is_told(tmp_path):
    status, said = repro(tmp_path, B1, "--kernel", "7.3.4")
    assert status == ExitCode.DIVERGED
    assert "expected: reproduced" in said


def test_a_hazardous_program_kills_its_host_if_told_to_go_on(tmp_path):
    status, said = repro(tmp_path, O1, "--kernel", "7.3.4", "--hazardous")
    assert status == ExitCode.OK, said
    assert "the kernel panicked" in said
