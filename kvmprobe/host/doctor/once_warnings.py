"""WARN_ONCE(): warnings that the kernel prints once per boot, and whether a run would see them.

Each WARN taints the kernel with W until reboot, so no once-warning has fired on a kernel without W.

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
    """Whether once-warnings can still be seen."""

    UNUSED = "none has fired since boot"
    CLEARABLE = "some may have fired, and can be reset"
    CONSUMED = "some may have fired, and cannot be reset"


def once_warnings(files: HostFiles) -> OnceWarnings:
    """Return their state; nothing is changed."""
    value = files.number(TAINTED)
    if value is not None and _WARNED not in letters(value):
        return OnceWarnings.UNUSED
    if os.access(files.path(CLEAR), os.W_OK):
        return OnceWarnings.CLEARABLE
    return OnceWarnings.CONSUMED


def clear_fired(files: HostFiles) -> str:
    """Reset once-warnings that have fired, if debugfs allows.

    :returns: a note for the report; empty if none has fired
    """
    if once_warnings(files) is OnceWarnings.UNUSED:
        return ""
    try:
        files.path(CLEAR).write_text("1")
    except OSError as error:
        return f"once-warnings that fired before are not seen again: {CLEAR}: {error.strerror}"
    return f"once-warnings were reset ({CLEAR})"
