"""Warnings that the kernel gives once a boot, and whether they would show in a run.

Each WARN taints the kernel with W for good, so a kernel without W has all its once-warnings left.

:see: kernel/panic.c: __warn; lib/once.c, Documentation/admin-guide/clearing-warn-once.rst
"""

from __future__ import annotations

import os
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.host.kernel_log import TAINTED
from kvmprobe.host.taint import letters

if TYPE_CHECKING:
    from kvmprobe.host.files import HostFiles

CLEAR = "/sys/kernel/debug/clear_warn_once"
_WARNED = "W"


class OnceWarnings(Enum):
    """What has become of them."""

    UNUSED = "none has fired since boot"
    CLEARABLE = "some may have fired, and can be made to fire again"
    CONSUMED = "some may have fired, and would not fire again"


def once_warnings(files: HostFiles) -> OnceWarnings:
    """Tell their state; changes nothing."""
    value = files.number(TAINTED)
    if value is not None and _WARNED not in letters(value):
        return OnceWarnings.UNUSED
    if os.access(files.path(CLEAR), os.W_OK):
        return OnceWarnings.CLEARABLE
    return OnceWarnings.CONSUMED


def renew(files: HostFiles) -> str:
    """Make those that have fired fire again where that can be done; return a note, or nothing."""
    if once_warnings(files) is OnceWarnings.UNUSED:
        return ""
    try:
        files.path(CLEAR).write_text("1")
    except OSError as error:
        return f"once-warnings may be consumed: {CLEAR}: {error.strerror}"
    return f"once-warnings were cleared ({CLEAR}): those that had fired since boot fire again"
