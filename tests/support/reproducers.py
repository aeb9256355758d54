"""Programs that kvmprobe writes: compiled, run, and what they printed."""

from __future__ import annotations

import re
import subprocess

WARNINGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror")
_CALL = re.compile(r"(\d+)(?:\.(\d+))? .* = (a descriptor|-?\d+)(?: \(.*\))?")
_VALUE = re.compile(r"    (.+) = (0x[0-9a-f]+|0)")


def check_syntax(source):
    """Have the compiler look at C text; return what it complains of."""
    ended = subprocess.run(
        ["cc", "-fsyntax-only", *WARNINGS, "-x", "c", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stderr


def build(source, folder, name="program"):
    """Compile C text quickly; return the executable."""
    executable = folder / name
    subprocess.run(
        ["cc", *WARNINGS, "-O1", "-pthread", "-o", executable, "-x", "c", "-"],
        input=source,
        text=True,
        check=True,
    )
    return executable


def printed(output):
    """Return what a program printed of each call: (step, place), its result, its named values."""
    calls = []
    for line in output.splitlines():
        if call := _CALL.fullmatch(line):
            step, place, result = call.groups()
            known = None if result == "a descriptor" else int(result)
            calls.append(((int(step), int(place or 0)), known, {}))
        elif value := _VALUE.fullmatch(line):
            calls[-1][2][value[1]] = int(value[2], 16)
    return calls
