"""As root, kvmprobe keeps nothing where another user could replace it, and runs nothing there."""

from __future__ import annotations

import os
import pwd
import stat
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def require_private(path: Path, instead: str) -> None:
    """Check, as root, that no other user can write a directory; one that is missing passes.

    The owner of a directory above it can still move it away; what is put there is checked again.

    :param instead: what the user can do
    :raises UsageError: another user can
    """
    if os.geteuid() == 0 and (why := _not_private(path)):
        raise UsageError(f"{path}: {why}, and kvmprobe runs as root: {instead}")


def _not_private(path: Path) -> str:
    try:
        link, found, above = path.lstat(), path.stat(), path.resolve().parent.stat()
    except OSError:
        return ""  # who uses it will meet the error
    for owner in (link.st_uid, found.st_uid):
        if owner != 0:
            return f"it belongs to {_name(owner)}"
    if found.st_mode & _BY_OTHERS:
        return f"other users can write it (mode {stat.S_IMODE(found.st_mode):04o})"
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        mode = stat.S_IMODE(above.st_mode)
        return f"anyone can replace it (mode of {path.resolve().parent}: {mode:04o})"
    return ""


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"another user (uid {uid})"
