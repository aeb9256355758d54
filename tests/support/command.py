"""The kvmprobe command in a process of its own, as a user starts it."""

from __future__ import annotations

import subprocess
import sys

COMMAND = [sys.executable, "-m", "kvmprobe.cli.main"]


def kvmprobe(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Run it to its end; ``options`` are those of :func:`subprocess.run`."""
    command = [*COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)
