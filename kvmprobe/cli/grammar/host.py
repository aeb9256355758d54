"""Arguments about the host, and what is checked on it before a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kvmprobe.cli import terminal
from kvmprobe.cli.grammar.choices import Where
from kvmprobe.errors import UsageError
from kvmprobe.host import checks
from kvmprobe.host.doctor.once_warnings import clear_fired
from kvmprobe.host.files import HostFiles
from kvmprobe.host.settings import DEFAULT, SETTINGS, sensible, settings_of

if TYPE_CHECKING:
    import argparse
    from argparse import _ActionsContainer
    from collections.abc import Mapping

_SENSIBLE = "sensible"


def add_target(command: _ActionsContainer) -> None:
    """Declare ``--target``."""
    command.add_argument(
        "--target",
        choices=[where.value for where in Where],
        default=Where.AUTO,
        help="where to run: on this host, on the emulated host, or on this host and, if its KVM "
        "cannot run a scenario, on the emulated one (default: %(default)s)",
    )


def add_host_checks(command: _ActionsContainer) -> None:
    """Declare the options that allow what is refused on this host by default."""
    command.add_argument(
        "--hazardous",
        action="store_true",
        help="on this host, too, continue where the next step can PANIC it",
    )
    command.add_argument(
        "--allow-tainted",
        action="store_true",
        help="run on this host although the kernel has had a fault since boot "
        "(taint M, B, D, W or L)",
    )
    command.add_argument(
        "--shared",
        action="store_true",
        help="with --hazardous, run although a panic would also end other VMs on this host",
    )


def add_arm(command: _ActionsContainer) -> None:
    """Declare ``--arm``."""
    usual = ",".join(f"{name.removeprefix('kernel.')}={value}" for name, value in DEFAULT.items())
    names = ", ".join(name.removeprefix("kernel.") for name in SETTINGS)
    command.add_argument(
        "--arm",
        nargs="?",
        const=_SENSIBLE,
        metavar="NAME=VALUE,...",
        help="as root, change sysctls of this host for the run, so that it panics and reboots "
        f"after a fault, and restore them afterwards (default: {usual}, those that the kernel "
        f"has, and kernel.panic only if it is 0); valid: {names}",
    )


def arming_of(arguments: argparse.Namespace) -> Mapping[str, int] | None:
    """Return the sysctls to change; None without ``--arm``.

    :raises UsageError: an unknown sysctl, or a run on the emulated host
    """
    if arguments.arm is None:
        return None
    if arguments.kernel or arguments.target == Where.LAB:
        raise UsageError("--arm changes this host and does not apply to the emulated one")
    return sensible(HostFiles()) if arguments.arm == _SENSIBLE else settings_of(arguments.arm)


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
