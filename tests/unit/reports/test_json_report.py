"""The JSON document is whole after every record."""

import json
import os
from dataclasses import replace

import pytest

from kvmprobe.errors import ReportFileError, UsageError
from kvmprobe.reports.json_report import JsonReport
from kvmprobe.results.difference import ResultDiffers
from kvmprobe.results.record import (
    CallRecord,
    Crash,
    ScenarioRecord,
    StepRecord,
    Target,
)
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from tests.support.runs import O1_DIVERGENCE

TARGET = Target("lab", "7.3.4", "linux-image 7.3.4-1")
STEP = StepRecord((CallRecord(SetXcrs(5), -22, {"XCR0": 7}),), ("a kernel line",))


def record(name: str, verdict: Verdict = Verdict.PASS) -> ScenarioRecord:
    return ScenarioRecord(name, "row", "column", TARGET, verdict, steps=(STEP,), duration=0.25)


def test_document_is_valid_before_the_first_record(tmp_path):
    path = tmp_path / "run.json"
    JsonReport(path, ["kvmprobe", "run"])
    document = json.loads(path.read_text())
    assert (document["schema"], document["scenarios"]) == ("kvmprobe-run/2", [])


def test_document_is_valid_after_every_record(tmp_path):
    path = tmp_path / "run.json"
    report = JsonReport(path, [])
    for number in range(5):
        report.add(record(f"a.{number}"))
        assert [s["id"] for s in json.loads(path.read_text())["scenarios"]] == [
            f"a.{n}" for n in range(number + 1)
        ]


def test_document_of_a_run_cut_short_says_so(tmp_path):
    path = tmp_path / "run.json"
    JsonReport(path, []).add(record("a.b"))
    assert json.loads(path.read_text())["summary"]["complete"] is False


def test_summary_names_what_did_not_complete(tmp_path):
    path = tmp_path / "run.json"
    report = JsonReport(path, [])
    report.finish(["a.c"], complete=False)
    assert json.loads(path.read_text())["summary"]["not_completed"] == ["a.c"]


def test_shorter_tail_leaves_nothing_of_the_longer_one_behind(tmp_path):
    path = tmp_path / "run.json"
    report = JsonReport(path, [])
    report.finish([f"scenario.{n}" for n in range(1000)], complete=False)
    report.finish([], complete=True)
    assert json.loads(path.read_text())["summary"]["complete"] is True


def test_one_line_holds_one_record(tmp_path):
    path = tmp_path / "run.json"
    report = JsonReport(path, [])
    report.add(record("a.b"))
    report.add(record("a.c"))
    lines = [line for line in path.read_text().splitlines() if line.startswith('{"id"')]
    assert len(lines) == 2


def test_record_tells_steps_with_results_and_values_in_hexadecimal(tmp_path):
    path = tmp_path / "run.json"
    JsonReport(path, []).add(record("a.b"))
    (scenario,) = json.loads(path.read_text())["scenarios"]
    assert scenario["ops"] == [{"op": "set-xcrs", "xcr0": 5, "vcpu": "vcpu0", "by": ""}]
    assert scenario["steps"] == [
        {
            "calls": [{"op": 0, "result": -22, "observed": {"XCR0": "0x7"}}],
            "kernel_log": ["a kernel line"],
        }
    ]


def test_record_tells_divergence_and_crash(tmp_path):
    path = tmp_path / "run.json"
    divergence = replace(O1_DIVERGENCE, difference=ResultDiffers(0, -22))
    crash = Crash(2, RunUntilHalt(), "unexpected #NM", "restore_fpregs", ("a", "b"), "text")
    whole = ScenarioRecord(
        "a.b",
        "r",
        "c",
        TARGET,
        Verdict.CRASHED,
        divergences=(divergence,),
        known=("O1",),
        crash=crash,
    )
    JsonReport(path, []).add(whole)
    (written,) = json.loads(path.read_text())["scenarios"]
    (found,) = written["divergences"]
    assert found["rule"]["invariants"] == ["INV-25"]
    assert found["difference"] == {"kind": "ResultDiffers", "expected": 0, "observed": -22}
    assert (written["crash"]["function"], written["known"]) == ("restore_fpregs", ["O1"])


def test_unwritable_path_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="No such file or directory"):
        JsonReport(tmp_path / "missing" / "run.json", [])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_full_disk_is_told_as_such():
    from pathlib import Path

    with pytest.raises(ReportFileError, match="No space left on device"):
        JsonReport(Path("/dev/full"), [])
