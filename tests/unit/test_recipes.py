"""The recipes in scripts/lab, as far as the programs that read them can say without a machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LAB = Path(__file__).parents[2] / "scripts" / "lab"
KTAP = """\
KTAP version 1
1..1
  KTAP version 1
  1..1
    KTAP version 1
    1..6
    ok 1 xcrs.single.cpuid
    not ok 2 xcrs.single.empty
    ok 3 xcrs.single.tiles # SKIP no_amx_cpu: the CPU has no AMX
    not ok 4 xcrs.single.known # XFAIL known, O1
    not ok 5 xcrs.single.slow # TIMEOUT
    not ok 6 xcrs.single.broken # ERROR a bug
  not ok 1 xcrs
not ok 1 kvmprobe
"""


@pytest.fixture
def lava(tmp_path):
    """Give `results.sh` KTAP as LAVA's machine does; return its output and the test cases."""
    calls = tmp_path / "calls"
    command = tmp_path / "lava-test-case"
    command.write_text(f'#!/bin/sh\necho "$@" >>{calls}\n')
    command.chmod(0o755)

    def given(ktap):
        ended = subprocess.run(
            [LAB / "lava" / "results.sh"],
            input=ktap,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        return ended.stdout, dict(
            line.split(" --result ") for line in calls.read_text().splitlines()
        )

    return given


def test_lava_gets_a_result_for_each_scenario(lava):
    _, results = lava(KTAP)
    assert results == {
        "xcrs.single.cpuid": "pass",
        "xcrs.single.empty": "fail",
        "xcrs.single.tiles": "skip",
        "xcrs.single.known": "pass",
        "xcrs.single.slow": "unknown",
        "xcrs.single.broken": "unknown",
        "kvmprobe-ended": "pass",
    }


def test_the_console_has_the_ktap_as_it_is(lava):
    output, _ = lava(KTAP)
    assert output == KTAP


def test_a_run_without_an_end_is_a_failure(lava):
    _, results = lava(KTAP.rpartition("not ok 1 kvmprobe")[0])
    assert results["kvmprobe-ended"] == "fail"


def test_what_is_no_name_starts_no_command(lava):
    _, results = lava("    ok 1 a;touch${IFS}x\n    ok 2 `touch x`\n    ok 3 $(touch x)\n")
    assert results == {"kvmprobe-ended": "fail"}


def test_ansible_accepts_the_playbook():
    ended = subprocess.run(
        [
            *(Path(sys.executable).with_name("ansible-playbook"), "--syntax-check"),
            *("-i", "inventory.ini", "-e", "kvmprobe_wheels=w", "-e", "kvmprobe_tls=t"),
            "workers.yml",
        ],
        cwd=LAB / "ansible",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
