"""Programs that look at a VMM's threads while a guest runs, and the checks that they have."""

from __future__ import annotations

import re

from tests.support.conformance import SOURCES

# Calls on vCPUs while one runs; what ptrace(2) and a core dump show of the thread that runs it.
PROGRAMS = ("running_vcpu", "regsets")
_CHECK = re.compile(r'\bexpect\("([a-z0-9-]+)"')
_LINE = re.compile(r"(?:not )?ok ([a-z0-9-]+) ")


def not_passed(program, lines):
    """The lines of checks that failed, and the names of checks that have no line."""
    source = (SOURCES / f"{program}.c").read_text(encoding="utf-8")
    checked = {found[1] for line in lines if (found := _LINE.match(line))}
    failed = [line for line in lines if line.startswith("not ok ")]
    return failed + sorted(set(_CHECK.findall(source)) - checked)
