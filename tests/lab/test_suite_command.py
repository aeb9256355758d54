"""``kvmprobe lab suite`` with selftests of a few lines: built, run, and each in its way ended."""

import json

import pytest

from tests.support.command import kvmprobe
from tests.support.suites import source_package

pytestmark = pytest.mark.lab
PANIC = "Kernel panic - not syncing: sysrq triggered crash"
UNDECLARED = "'this_is_not_c' undeclared (first use in this function)"


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    words = ("--kernel", "7.3.4", "--source", str(source_package(folder)), "--test-timeout", "3")
    told = kvmprobe("lab", "suite", *words, "--out", "out", "--report", "kcidb=kcidb", cwd=folder)
    return told, folder


def test_each_test_has_the_verdict_of_its_end(ended):
    lines = ended[0].stdout.splitlines()
    rows = [line.split(None, 2) for line in lines if line.startswith("kselftest")]
    assert {name.partition(".")[2]: told for name, *told in rows} == {
        "passes_test": ["pass"],
        "skips_test": ["skip", "Requirement not met: X"],
        "fails_test": ["FAIL", "x86/fails_test.c:9: a == b: 1 != 2 (a != b)"],
        "slow_test": ["timeout", "did not end before its deadline"],
        "panics_test": ["PANIC", f"the host died: {PANIC}"],
        "broken_test": ["skip", f"not built: {UNDECLARED}"],
        "huge.sh": ["skip", "not run: a script, whose tools are not there"],
        "amx_64": ["pass"],
    }


def test_what_was_not_selected_is_listed(ended):
    assert "  not selected: fsgsbase_64" in ended[0].stdout.splitlines()


def test_a_failure_is_the_exit_status(ended):
    assert ended[0].returncode == 1


def test_the_report_has_the_same_tests(ended):
    told = json.loads((ended[1] / "kcidb").read_text())
    statuses = {test["path"].rpartition(".")[2]: test["status"] for test in told["tests"]}
    assert statuses["panics_test"] == statuses["fails_test"] == "FAIL"


def test_a_suite_that_was_completed_runs_nothing_again(ended):
    again = kvmprobe("resume", str(ended[1] / "out"))
    assert again.stdout.splitlines()[:9] == ended[0].stdout.splitlines()[:9]
