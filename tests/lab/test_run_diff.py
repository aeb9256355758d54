"""``kvmprobe diff`` of two real kernels, one with a defect that the other has fixed."""

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
def runs(tmp_path_factory):
    """Return the runs of 6.12.43, without the fix of B1, and of 6.12.95, with it."""
    folder = tmp_path_factory.mktemp("runs")
    paths = [folder / f"{kernel}.json" for kernel in ("6.12.43", "6.12.95")]
    for path in paths:
        command = [*COMMAND, "run", "--observe", "each", "--kernel", path.stem]
        ended = subprocess.run(
            [*command, "--select", TILES, "--json", str(path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == ExitCode.DIVERGED, ended.stderr
    return paths


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
