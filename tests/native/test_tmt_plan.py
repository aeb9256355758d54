"""The tmt plan in scripts/lab, on this machine, as a lab runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kvmprobe.results.run_document import Ending, read_run

pytestmark = pytest.mark.kvm
PLAN = Path(__file__).parents[2] / "scripts" / "lab" / "tmt"


@pytest.mark.parametrize(
    ("selected", "result"),
    [("xcrs.single.*", "pass"), ("no.such.scenario", "error")],
)
def test_the_result_is_that_of_the_run(tmp_path, selected, result):
    programs = Path(sys.executable).parent
    ended = subprocess.run(
        [
            *(programs / "tmt", "--feeling-safe", "run", "--id", tmp_path / "tmt", "--all"),
            *("--environment", f"KVMPROBE={programs / 'kvmprobe'}"),
            *("--environment", f"KVMPROBE_ARGS='--target host --select {selected}'"),
            *("provision", "--how", "local"),
        ],
        cwd=PLAN,
        env={**os.environ, "TMT_WORKDIR_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    results = (tmp_path / "tmt/plans/kvmprobe/execute/results.yaml").read_text()
    assert [r["result"] for r in yaml.safe_load(results)] == [result], ended.stderr
    if result == "pass":
        data = tmp_path / "tmt/plans/kvmprobe/execute/data/guest/default-0/tests-1/data"
        assert read_run(data / "run").ending is Ending.COMPLETE
        assert {"junit.xml", "kvmprobe.ktap", "report.html"} <= {f.name for f in data.iterdir()}
