"""What is checked on this host before a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kvmprobe.cli import terminal
from kvmprobe.host import checks
from kvmprobe.host.doctor.once_warnings import clear_fired
from kvmprobe.host.files import HostFiles

if TYPE_CHECKING:
    import argparse


def check_host(arguments: argparse.Namespace) -> list[str]:
    """Refuse a host that a run should not start on; return notes for the reader of the run.

    :raises Unavailable: ``tainted``, ``busy``
    """
    files, own_pid = HostFiles(), os.getpid()
    if not arguments.allow_tainted:
        checks.refuse_tainted(files)
    if arguments.hazardous:
        if not arguments.shared:
            checks.refuse_other_vms(files, own_pid)
        notice(checks.service_warning(files))
    return [note for note in (*checks.notes(files, own_pid), clear_fired(files)) if note]


def notice(line: str) -> None:
    """Print a line on standard error, unless it is empty."""
    if line:
        terminal.print_line(f"kvmprobe: {line}")
