"""``run --minutes`` ends when the time is up, and is no failure for that."""

from kvmprobe.coverage.first import places
from kvmprobe.errors import ExitCode
from kvmprobe.results.run_document import Ending, read_run
from tests.support.command import kvmprobe

SHORTEST = "0.05"


def test_a_run_that_uses_up_its_minutes_can_be_resumed(tmp_path):
    out = tmp_path / "run"
    ended = kvmprobe("run", "--target", "host", "--minutes", SHORTEST, "--out", str(out))
    assert ended.returncode in {ExitCode.OK, ExitCode.DIVERGED}, ended.stderr
    assert f"{SHORTEST} minutes are up" in ended.stdout
    assert f"kvmprobe resume {out}" in ended.stderr
    run = read_run(out)
    assert run.ending is Ending.CUT_SHORT
    ran = [record.id for record in run.records if record.steps]
    assert ran[0] in list(places())[:20]
