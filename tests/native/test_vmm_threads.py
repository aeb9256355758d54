"""Threads of a VMM while a guest runs: calls that wait for it, debuggers and core dumps."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.conformance import compiled
from tests.support.vmm_programs import not_passed

pytestmark = pytest.mark.kvm
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
DEADLINE = 60


def lines_of(folder, program, *arguments):
    command = [compiled(program, folder), *arguments]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, timeout=DEADLINE
    )
    return [*ended.stdout.splitlines(), *ended.stderr.splitlines()]


def test_calls_while_a_vcpu_runs(tmp_path):
    assert not_passed("running_vcpu", lines_of(tmp_path, "running_vcpu")) == []


@pytest.mark.skipif(CORE_PATTERN.read_text().strip() != "core", reason="core dumps go elsewhere")
def test_a_debugger_and_a_core_dump_show_the_threads_registers(tmp_path):
    lines = [*lines_of(tmp_path, "regsets"), *lines_of(tmp_path, "regsets", "core")]
    assert not_passed("regsets", lines) == []
