"""JUnit XML by junitparser, and against the xunit2 schema."""

import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import junitparser
import pytest
import xmlschema

from kvmprobe.reports.excerpt import at_most
from kvmprobe.reports.formats.junit import junit
from kvmprobe.results.run_document import Ending, read_run
from tests.support.runs import EVERY, INTERRUPTED, cuts, passed, run_of_records, written

SCHEMA = Path(__file__).parents[2] / "support" / "xunit2.xsd"
# What pytest's own xunit2 writer has to say of each kind of ending.
PYTEST_OF_ALL_KINDS = """
import pytest
def test_passes(): print("out")
def test_fails(): assert False, "\\x1b"
@pytest.fixture
def broken(): raise ValueError
def test_is_an_error(broken): pass
def test_skips(): pytest.skip("no")
@pytest.mark.xfail
def test_is_expected_to_fail(): assert False
"""


@cache
def schema():
    return xmlschema.XMLSchema(SCHEMA)


def parsed(text):
    return junitparser.JUnitXml.fromstring(text.encode())


def case(name):
    return next(c for suite in parsed(junit([EVERY])) for c in suite if c.name == name)


def test_the_schema_takes_what_pytest_writes(tmp_path):
    test, report = tmp_path / "test_it.py", tmp_path / "junit.xml"
    test.write_text(PYTEST_OF_ALL_KINDS)
    # Hypothesis is slow to import.
    plugins = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    options = (*plugins, "-o", "junit_family=xunit2", f"--junitxml={report}")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", *options, str(test)]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    schema().validate(report)
    assert len(list(parsed(report.read_text()))) == 1


@pytest.mark.parametrize(
    "broken",
    [
        "<testsuites><testsuite name='a' tests='1' failures='0'/></testsuites>",
        "<testsuites><testcase name='a' classname='b' time='0'/></testsuites>",
        "<testsuites><testsuite name='a' tests='x' failures='0' errors='0'/></testsuites>",
    ],
)
def test_the_schema_refuses_what_is_not_xunit2(broken):
    assert not schema().is_valid(broken)


@pytest.mark.parametrize("run", [EVERY, INTERRUPTED, run_of_records()], ids=["all", "cut", "none"])
def test_a_report_follows_the_schema(run):
    schema().validate(junit([run]))


def test_several_runs_follow_the_schema():
    schema().validate(junit([EVERY, INTERRUPTED]))


def test_a_run_that_was_cut_follows_the_schema_and_does_not_pass(tmp_path):
    path = written(tmp_path / "run.json", EVERY)
    for cut in cuts(path.read_bytes()):
        path.write_bytes(cut)
        report = junit([read_run(path)])
        schema().validate(report)
        assert sum(suite.errors for suite in parsed(report)) >= 1


@pytest.mark.parametrize(
    ("name", "kind", "verdict"),
    [
        ("restore.b.x", junitparser.Failure, "DIVERGED"),
        ("restore.c", junitparser.Error, "CRASHED"),
        ("kick.a", junitparser.Skipped, "XFAIL"),
        ("kick.b", junitparser.Failure, "XPASS"),
        ("xsave.a", junitparser.Error, "TIMED_OUT"),
        ("guest.a", junitparser.Skipped, "SKIPPED"),
        ("xcrs.a", junitparser.Error, "BROKEN"),
    ],
)
def test_a_verdict_has_its_element(name, kind, verdict):
    (result,) = case(name).result
    assert (type(result), result.type) == (kind, verdict)


def test_a_pass_has_none():
    assert case("restore.a.x").result == []


def test_the_counts_of_a_suite_are_those_of_its_cases():
    for suite in parsed(junit([INTERRUPTED])):
        kinds = Counter(type(r).__name__ for c in suite for r in c.result)
        told = (suite.tests, suite.failures, suite.errors, suite.skipped)
        cases = len(list(suite))
        assert told == (cases, kinds["Failure"], kinds["Error"], kinds["Skipped"])


def test_a_failure_says_what_was_expected_and_by_which_rule():
    (result,) = case("restore.b.x").result
    assert "known, O1, open" in result.message
    assert "expected: XSTATE_BV=0x20000 (XTILE_CFG)\n" in result.text
    assert "rule:     XFD[i]=1 clears XSTATE_BV[i] (INV-25)" in result.text


def test_the_kernels_log_is_the_cases_output():
    assert "step 1: WARNING: CPU: 0 PID: 1" in case("restore.b.x").system_out
    assert "Oops: unexpected #NM exception" in case("restore.c").system_out


def test_hostile_text_stays_text():
    # XML 1.0, Char: of the control characters only tab, newline, return; no surrogate, no U+FFFE
    assert "\ufffd[2J<script>alert('1')</script>]]>&amp; " in case("restore.b.x").system_out


def test_a_suite_says_where_and_by_what_it_ran():
    suite = next(iter(parsed(junit([EVERY]))))
    told = {p.name: p.value for p in suite.properties()}
    assert (told["kernel"], told["tool"], told["target"]) == ("6.12.43", "kvmprobe 0.1.0", "lab")


def test_what_did_not_complete_is_an_error_by_its_name():
    names = [c.name for s in parsed(junit([INTERRUPTED])) for c in s if "not-completed" in s.name]
    assert names == ["sregs.a", "sregs.b"]


def test_a_run_that_was_cut_with_nothing_known_missing_has_an_error():
    cut = run_of_records(passed("restore.a"), ending=Ending.CUT_SHORT)
    assert [suite.errors for suite in parsed(junit([cut]))] == [0, 1]


def test_a_long_log_is_cut_and_says_so():
    assert at_most(["a", "b", "c"], 2) == ["a", "b", "... 1 more lines"]
    assert at_most(["a", "b"], 2) == ["a", "b"]
