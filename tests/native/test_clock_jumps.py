"""A run while the time of day jumps a day to and fro: deadlines and durations do not go by it."""

import os
import subprocess
from pathlib import Path

import pytest

import tests.support
from kvmprobe.results.run_document import Ending, read_run
from tests.support.command import kvmprobe

pytestmark = pytest.mark.kvm
SOURCE = Path(tests.support.__path__[0]) / "jumping_clock.c"
RUN = ("run", "--target", "host", "--select", "xcrs.*", "--timeout", "600")
MOST_SECONDS = 600


@pytest.fixture
def jumping(tmp_path):
    """An environment in which the time of day jumps."""
    library = tmp_path / "jumping_clock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}


def outcomes(run):
    return {record.id: (record.verdict, record.known) for record in run.records}


def test_a_run_does_not_go_by_the_time_of_day(tmp_path, jumping):
    asks = ["python3", "-c", "import time; print(len({time.time() // 3600 for _ in range(9)}))"]
    assert subprocess.check_output(asks, env=jumping) == b"3\n"
    kvmprobe(*RUN, "--out", str(tmp_path / "calm"))
    ended = kvmprobe(*RUN, "--out", str(tmp_path / "jumps"), env=jumping)
    calm, jumps = (read_run(tmp_path / name) for name in ("calm", "jumps"))
    assert jumps.ending is Ending.COMPLETE, ended.stderr
    assert outcomes(jumps) == outcomes(calm)
    assert all(0 <= record.duration < MOST_SECONDS for record in jumps.records)
