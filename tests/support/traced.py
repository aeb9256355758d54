"""The program ``traced.c``, and its recordings."""

from __future__ import annotations

import subprocess
from pathlib import Path

from kvmprobe.recordings.reader import RecordingReader
from tests.support.command import kvmprobe

_COMPILE = ("gcc", "-static", "-O1", "-pthread")


def compiled(folder):
    """Compile the program into a folder; return its path."""
    program = folder / "traced"
    subprocess.run([*_COMPILE, "-o", program, Path(__file__).with_suffix(".c")], check=True)
    return program


def entries(path, kind):
    """The entries of a recording whose lines are of this class, after reading all of it."""
    with RecordingReader(path) as reader:
        return [entry for entry in reader if isinstance(entry.line, kind)]


def trace(path, *command, **options):
    """Record a command to its end."""
    return kvmprobe("trace", "-o", str(path), "--", *map(str, command), **options)
