"""kernel.panic of this host for one test session at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

SETTING = Path("/proc/sys/kernel/panic")
# A host that reboots some other time after a panic: harmless while it does not panic.
OTHER = 97
CHANGEABLE = os.access(SETTING, os.W_OK)


def value():
    return int(SETTING.read_text())


@contextmanager
def borrowed():
    """Keep other sessions of these tests out; yields the value, which is put back."""
    with (Path(tempfile.gettempdir()) / "kvmprobe-test-arming.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        was = value()
        try:
            yield was
        finally:
            if value() != was:
                SETTING.write_text(str(was))
