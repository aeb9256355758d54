"""KVMPROBE_TEST_KVM, _LAB and _BROWSER: a skip cannot hide where a test is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPS = """
import pytest
@pytest.mark.{marker}
def test_it():
    pytest.skip("no such CPU")
"""
LACKS_TOOLS = """
import pytest
from kvmprobe.errors import MissingTools
@pytest.mark.lab
def test_it():
    raise MissingTools(("bochs",), "the emulated host")
"""
RUNS = """
import pytest
@pytest.mark.{marker}
def test_it():
    pass
"""
INI = "[pytest]\nmarkers =\n  kvm: needs /dev/kvm\n  lab: boots it\n  browser: opens it\n"


@pytest.fixture
def run(tmp_path):
    def run_pytest(test, **switches):
        (tmp_path / "pytest.ini").write_text(INI)
        (tmp_path / "test_it.py").write_text(test)
        environment = {k: v for k, v in os.environ.items() if "KVMPROBE_TEST" not in k}
        environment |= switches | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-rs", str(tmp_path)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run_pytest


@pytest.mark.parametrize(
    "switch", ["KVMPROBE_TEST_KVM", "KVMPROBE_TEST_LAB", "KVMPROBE_TEST_BROWSER"]
)
def test_any_other_value_is_a_usage_error(run, switch):
    ended = run(RUNS.format(marker="lab"), **{switch: "yes"})
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"{switch}=yes: one of auto, require, off" in ended.stderr


@pytest.mark.parametrize("marker", ["kvm", "lab", "browser"])
def test_off_skips_and_the_summary_says_so(run, marker):
    switch = f"KVMPROBE_TEST_{marker.upper()}"
    ended = run(RUNS.format(marker=marker), **{switch: "off"})
    expected = f"NOT exercised: 1 tests marked {marker}: {switch}=off"
    assert (ended.returncode, expected in ended.stdout) == (0, True)


def test_auto_lets_a_test_skip_with_its_reason(run):
    ended = run(SKIPS.format(marker="lab"))
    expected = "NOT exercised: 1 tests marked lab: no such CPU"
    assert (ended.returncode, expected in ended.stdout) == (0, True)


def test_require_turns_a_skip_into_a_failure(run):
    ended = run(SKIPS.format(marker="lab"), KVMPROBE_TEST_LAB="require")
    expected = "KVMPROBE_TEST_LAB=require, but: no such CPU"
    assert (ended.returncode, expected in ended.stdout) == (1, True)


def test_auto_skips_a_lab_test_that_lacks_its_tools(run):
    ended = run(LACKS_TOOLS)
    assert (ended.returncode, "the emulated host needs bochs" in ended.stdout) == (0, True)


def test_require_fails_a_lab_test_that_lacks_its_tools(run):
    ended = run(LACKS_TOOLS, KVMPROBE_TEST_LAB="require")
    assert (ended.returncode, "MissingTools" in ended.stdout) == (1, True)


def test_a_browser_that_is_not_installed_is_named(run):
    ended = run(RUNS.format(marker="browser"), PATH="")
    expected = "tests marked browser: not installed: chromium, chromedriver"
    assert (ended.returncode, expected in ended.stdout) == (0, True)


def test_a_test_that_runs_is_not_in_the_summary(run):
    ended = run(RUNS.format(marker="lab"))
    assert (ended.returncode, "NOT exercised" in ended.stdout) == (0, False)
