"""KVMPROBE_TEST_KVM, _LAB and _BROWSER: a skip cannot hide where a test is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SWITCHES = ("KVMPROBE_TEST_KVM", "KVMPROBE_TEST_LAB", "KVMPROBE_TEST_BROWSER")
# Chromium is not in this PATH.
PATH = {"PATH": ""}
INI = "[pytest]\nmarkers =\n  kvm: needs /dev/kvm\n  lab: boots it\n  browser: opens it\n"
TESTS = """
import pytest
from kvmprobe.errors import MissingTools

@pytest.mark.lab
def test_that_skips():
    pytest.skip("no such CPU")

@pytest.mark.lab
def test_that_lacks_its_tools():
    raise MissingTools(("bochs",), "the emulated host")

@pytest.mark.lab
def test_that_runs():
    pass

@pytest.mark.browser
def test_of_a_page():
    pass

@pytest.mark.kvm
def test_of_the_device():
    pass
"""
OFF = [
    "NOT exercised: 1 tests marked browser: KVMPROBE_TEST_BROWSER=off",
    "NOT exercised: 1 tests marked kvm: KVMPROBE_TEST_KVM=off",
    "NOT exercised: 3 tests marked lab: KVMPROBE_TEST_LAB=off",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("switches")
    (folder / "pytest.ini").write_text(INI)
    (folder / "test_it.py").write_text(TESTS)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("KVMPROBE_TEST", "PYTEST_"))}

    def run_pytest(*options, **switches):
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "tests.conftest", *options, str(folder)],
            cwd=folder,
            # Other plugins cost more than the run.
            env=kept | switches | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run_pytest


@pytest.fixture(scope="module")
def automatic(run):
    """A run in which the device is off and nothing else is switched."""
    return run(KVMPROBE_TEST_KVM="off", **PATH)


@pytest.fixture(scope="module")
def required(run):
    return run("-rf", **dict.fromkeys(SWITCHES, "require"), **PATH)


def not_exercised(ended):
    return [line for line in ended.stdout.splitlines() if line.startswith("NOT exercised")]


@pytest.mark.parametrize("switch", SWITCHES)
def test_any_other_value_is_a_usage_error(run, switch):
    ended = run(**{switch: "yes"})
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"{switch}=yes: one of auto, require, off" in ended.stderr


@pytest.mark.parametrize("options", [(), ("-p", "xdist.plugin", "-n", "1")], ids=["here", "xdist"])
def test_off_skips_and_the_closing_lines_say_so(run, options):
    ended = run(*options, **dict.fromkeys(SWITCHES, "off"))
    assert (ended.returncode, not_exercised(ended)) == (0, OFF)


def test_auto_lets_a_test_skip_with_its_reason(automatic):
    assert "NOT exercised: 1 tests marked lab: no such CPU" in not_exercised(automatic)
    assert automatic.returncode == 0


def test_auto_skips_a_lab_test_that_lacks_its_tools(automatic):
    (line,) = [line for line in not_exercised(automatic) if "the emulated host needs bochs" in line]
    assert line.startswith("NOT exercised: 1 tests marked lab")


def test_a_browser_that_is_not_installed_is_named(automatic):
    expected = "NOT exercised: 1 tests marked browser: not installed: chromium, chromedriver"
    assert expected in not_exercised(automatic)


def test_a_test_that_runs_is_not_in_the_closing_lines(automatic):
    # Two of lab that are skipped, the page, the device.
    assert len(not_exercised(automatic)) == 4
    assert "1 passed, 4 skipped" in automatic.stdout


def test_require_turns_a_skip_into_a_failure(required):
    assert "KVMPROBE_TEST_LAB=require, but: no such CPU" in required.stdout
    assert required.returncode == 1


def test_require_fails_a_lab_test_that_lacks_its_tools(required):
    assert "MissingTools" in required.stdout


def test_where_all_is_required_nothing_is_left_out(required):
    assert not_exercised(required) == []
