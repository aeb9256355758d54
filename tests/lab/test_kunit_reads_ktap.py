"""KTAP by the kernel's own reader: ``tools/testing/kunit/kunit.py parse``."""

import json
import subprocess
import sys

import pytest

from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.reports.formats.ktap import FORMAT, ktap
from kvmprobe.results.run_document import RunDocument, read_run
from tests.support.kunit import kunit
from tests.support.runs import (
    EVERY,
    EVERY_VERDICT,
    INTERRUPTED,
    MISSING,
    cuts,
    passed,
    run_of_records,
    written,
)

pytestmark = pytest.mark.lab
# kunit_json.py: XFAIL it does not know, and takes the line's own "ok"
STATUSES = {
    "restore.a.x": "PASS",
    "restore.b.x": "FAIL",
    "restore.b.y": "FAIL",
    "restore.c": "FAIL",
    "kick.a": "PASS",
    "kick.b": "FAIL",
    "xsave.a": "FAIL",
    "guest.a": "SKIP",
    "xcrs.a": "FAIL",
}


@pytest.fixture(scope="session")
def reader():
    return kunit(Archives(Cache.from_environment()))


@pytest.fixture
def parsed(reader, tmp_path):
    """Return a function from KTAP to kunit.py's status, the scenarios' statuses, and its errors."""

    def parse(text):
        source, result = tmp_path / "run.ktap", tmp_path / "result.json"
        source.write_text(text)
        command = [sys.executable, "-B", str(reader), "parse", f"--json={result}", str(source)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        (run,) = json.loads(result.read_text())["sub_groups"]
        cases = {
            case["name"]: case["status"]
            for family in run["sub_groups"]
            for case in family["test_cases"]
        }
        errors = [line for line in ended.stdout.splitlines() if "[ERROR]" in line]
        return ended.returncode, cases, errors

    return parse


def test_a_run_of_every_verdict_is_read_without_an_error(parsed):
    assert parsed(ktap([EVERY])) == (1, STATUSES, [])


def test_a_run_that_passed_passes(parsed):
    assert parsed(ktap([run_of_records(passed("restore.a"))])) == (0, {"restore.a": "PASS"}, [])


def test_an_interrupted_run_fails_with_what_is_missing(parsed):
    expected = STATUSES | dict.fromkeys(MISSING, "FAIL")
    assert parsed(ktap([INTERRUPTED])) == (1, expected, [])


def test_a_run_that_was_cut_is_read_as_far_as_it_goes(parsed, tmp_path):
    path = written(tmp_path / "run.json", EVERY)
    for cut in cuts(path.read_bytes()):
        path.write_bytes(cut)
        run = read_run(path)
        expected = {r.id: STATUSES[r.id] for r in run.records} | {"cut-short": "FAIL"}
        assert parsed(ktap([run])) == (1, expected, [])


def test_a_report_that_stops_after_any_record_is_read_and_does_not_pass(parsed):
    planned = [f"{family}.{n}" for family in ("restore", "kick", "xsave") for n in range(2)]
    lines = []
    report = FORMAT.live(lines.append, RunDocument("", ()), planned)
    for done, scenario in enumerate(planned[:-1], 1):
        report.add(passed(scenario))
        status, cases, errors = parsed("\n".join(lines) + "\n")
        whole_families = planned[: done - done % 2]
        assert (status, [name for name in cases if name]) == (1, whole_families)
        assert any("missing expected subtest" in error for error in errors)


def test_the_sample_has_every_scenario_of_the_table():
    assert {record.id for record in EVERY_VERDICT} == STATUSES.keys()
