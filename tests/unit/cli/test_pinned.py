"""``run --pin``: another failure than the one that is looked for says nothing of it."""

from dataclasses import replace

import pytest

from kvmprobe.cli.exit_style import ExitStyle, exit_status
from kvmprobe.cli.main import main
from kvmprobe.cli.pinned import pinned_by, pinned_outcome
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.results.difference import ResultDiffers
from kvmprobe.results.verdict import Verdict
from tests.support.runs import B1_DIVERGENCE, CRASH, NEW, diverged, passed, run_of_records, written

FAILS = diverged("restore.a", ("B1",), B1_DIVERGENCE)
OTHERWISE = diverged("restore.a", (), replace(B1_DIVERGENCE, difference=ResultDiffers(0, -22)))
BROKEN = replace(passed("restore.a"), verdict=Verdict.BROKEN)


@pytest.fixture
def pinned(tmp_path):
    return pinned_by(written(tmp_path / "run.json", run_of_records(FAILS, passed("restore.b"))))


# git-bisect(1): 0 good, 1 bad, 125 cannot be tested.
@pytest.mark.parametrize(
    ("records", "status"),
    [
        ([passed("restore.a")], 0),
        ([FAILS], 1),
        ([replace(FAILS, target=NEW, known=())], 1),
        ([OTHERWISE], 125),
        ([diverged("restore.a", ("O1",), B1_DIVERGENCE)], 125),
        ([diverged("restore.a", ("B1", "B4"), B1_DIVERGENCE)], 1),
        ([OTHERWISE, FAILS], 1),
        ([BROKEN], 125),
        ([], 125),
    ],
)
def test_only_the_failure_that_is_pinned_makes_a_kernel_bad(pinned, records, status):
    assert exit_status(ExitStyle.BISECT, pinned_outcome(records, pinned)) == status


def test_of_a_crash_without_a_name_the_crash_is_pinned(tmp_path):
    crashed = replace(FAILS, verdict=Verdict.CRASHED, crash=CRASH, known=())
    pinned = pinned_by(written(tmp_path / "run.json", run_of_records(crashed)))
    assert pinned_outcome([crashed], pinned) is ExitCode.DIVERGED
    assert pinned_outcome([FAILS], pinned) is ExitCode.NOTHING_RAN


def test_a_run_without_a_failure_pins_nothing(tmp_path):
    path = written(tmp_path / "run.json", run_of_records(passed("restore.a")))
    with pytest.raises(UsageError, match="no scenario of that run failed"):
        pinned_by(path)


def test_a_run_that_is_not_there_ends_a_bisection(capsys):
    arguments = ["run", "--exit-style", "bisect", "--target", "host", "--pin", "/nowhere"]
    assert main(arguments) == 128
    assert "/nowhere" in capsys.readouterr().err
