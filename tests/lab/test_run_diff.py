"""``kvmprobe matrix`` and ``diff`` of two kernels, one with a defect that the other has fixed."""

import subprocess

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.results.comparison import Becomes, compare
from kvmprobe.results.run_document import read_run
from tests.support.command import COMMAND

pytestmark = pytest.mark.lab
TILES = "restore.*.perm-granted.xfd-armed.bv-tiles"


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    """Return the directory and the output of a matrix: 6.12.43 has B1, 6.12.95 its fix."""
    folder = tmp_path_factory.mktemp("matrix") / "out"
    command = [*COMMAND, "matrix", "--kernels", "6.12.43,/nowhere/bzImage,6.12.95"]
    ended = subprocess.run(
        [*command, "--observe", "each", "--select", TILES, "--out", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == ExitCode.DIVERGED, ended.stderr
    return folder, ended.stdout


@pytest.fixture(scope="module")
def runs(matrix):
    """Return the runs of both kernels."""
    folder, _ = matrix
    return [folder / kernel for kernel in ("6.12.43", "6.12.95")]


def test_the_matrix_marks_what_is_not_as_on_the_kernel_to_its_left(matrix):
    _, table = matrix
    rows = [line.split()[2:] for line in table.splitlines() if line.startswith("restore.")]
    assert sorted(rows) == [[".", "."], ["C", "B1", ">", "."], ["C", "O1", "C", "O1"]]
    assert "60 run, 0 skipped, 30 refused with their kernel, 0 without a result" in table


def test_b1_is_fixed_and_o1_unchanged(runs):
    # known-bugs: B1, CVE-2026-23005, fixed in 6.12.67; O1 open
    defects = compare(*map(read_run, runs)).defects
    assert {d.id: d.becomes for d in defects} == {"B1": Becomes.FIXED, "O1": Becomes.UNCHANGED}


def test_the_fix_is_no_regression_and_its_loss_is_one(runs, capsys):
    before, after = map(str, runs)
    assert main(["diff", before, after]) == ExitCode.OK
    assert main(["diff", after, before]) == ExitCode.DIVERGED
    told = capsys.readouterr().out
    assert "no regression: 4 fixed, 4 unchanged" in told
    assert "REGRESSION: 4 new failure, 4 unchanged" in told
