"""The sysctls that ``--arm`` may change: names, defaults, reading, writing."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import Unavailable, UsageError, errno_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.host.files import HostFiles

# Documentation/admin-guide/sysctl/kernel.rst
SETTINGS = (
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.panic_on_warn",
    "kernel.panic_on_rcu_stall",
    "kernel.hung_task_panic",
    "kernel.hung_task_timeout_secs",
    "kernel.softlockup_panic",
    "kernel.hardlockup_panic",
    "kernel.sysrq",
)
# An oops, lockup or hang panics, and a panic reboots.
DEFAULT: Mapping[str, int] = {
    "kernel.panic": 10,
    "kernel.panic_on_oops": 1,
    "kernel.softlockup_panic": 1,
    "kernel.hung_task_panic": 1,
}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one sysctl; ``name`` as sysctl(8) has it."""

    name: str
    before: int
    after: int

    def __str__(self) -> str:
        return f"{self.name}={self.after} (was {self.before})"


def settings_of(text: str) -> dict[str, int]:
    """Read ``NAME=VALUE[,NAME=VALUE...]``; ``kernel.`` may be left out.

    :raises UsageError: a name is not in SETTINGS, or a value is not a number
    """
    found: dict[str, int] = {}
    for item in text.split(","):
        name, _, value = item.strip().partition("=")
        full = name if name.startswith("kernel.") else f"kernel.{name}"
        if full not in SETTINGS:
            raise UsageError(f"--arm: unknown sysctl {name!r}; valid: {', '.join(SETTINGS)}")
        try:
            found[full] = int(value)
        except ValueError:
            raise UsageError(
                f"--arm: {item.strip()!r}: the value of {full} must be a number"
            ) from None
    return found


def sensible(files: HostFiles) -> dict[str, int]:
    """Return DEFAULT without the sysctls that this kernel does not have.

    kernel.panic is not changed if it reboots the host already.
    """
    now = {name: number(files, name) for name in DEFAULT}
    reboots = bool(now["kernel.panic"])
    return {
        name: value
        for name, value in DEFAULT.items()
        if now[name] is not None and not (name == "kernel.panic" and reboots)
    }


def changes_for(files: HostFiles, wanted: Mapping[str, int]) -> tuple[Change, ...]:
    """Return the changes that are needed.

    :raises UsageError: this kernel has no such sysctl
    """
    found: list[Change] = []
    for name, value in wanted.items():
        before = number(files, name)
        if before is None:
            raise UsageError(f"--arm: this kernel has no sysctl {name}")
        if before != value:
            found.append(Change(name, before, value))
    return tuple(found)


def number(files: HostFiles, name: str) -> int | None:
    """Return the value of a sysctl; None if it cannot be read."""
    return files.number(_file(name))


def put(files: HostFiles, name: str, value: int) -> None:
    """Write a sysctl.

    :raises Unavailable: ``not_root``
    :raises UsageError: the kernel refuses the value
    """
    try:
        files.path(_file(name)).write_text(f"{value}\n")
    except OSError as error:
        if error.errno in _DENIED:
            raise denied(f"write {name}", error) from error
        raise UsageError(
            f"--arm: the kernel refuses {name}={value}: {errno_name(error.errno or 0)}"
        ) from error


def denied(attempt: str, error: OSError) -> Unavailable:
    """Return the error for an operation that needs root."""
    what = errno_name(error.errno or 0)
    return Unavailable(
        "not_root", f"--arm: cannot {attempt}: {what}; run as root, not in a container"
    )


def _file(name: str) -> str:
    return f"/proc/sys/{name.replace('.', '/')}"
