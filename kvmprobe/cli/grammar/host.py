"""Arguments about the host that a run puts at stake; what follows from them before it begins."""

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


def add_host_checks(command: _ActionsContainer) -> None:
    """Take what lets a run begin on a host that it would refuse."""
    command.add_argument(
        "--allow-tainted",
        action="store_true",
        help="on this host, run although the kernel has had a fault since boot "
        "(taint M, B, D, W or L)",
    )
    command.add_argument(
        "--shared",
        action="store_true",
        help="with --hazardous, run although other VMs run on this host, which a panic takes along",
    )


def add_arm(command: _ActionsContainer) -> None:
    """Take settings to change for the run."""
    usual = ",".join(f"{name.removeprefix('kernel.')}={value}" for name, value in DEFAULT.items())
    names = ", ".join(name.removeprefix("kernel.") for name in SETTINGS)
    command.add_argument(
        "--arm",
        nargs="?",
        const=_SENSIBLE,
        metavar="NAME=VALUE,...",
        help="as root, change kernel settings of this host for the run, so that a host in trouble "
        f"dies and comes back, and restore them afterwards (without a value: {usual}, as far as "
        f"the kernel has them; kernel.panic only if it is 0); known: {names}",
    )


def arming_of(arguments: argparse.Namespace) -> Mapping[str, int] | None:
    """Return what to arm with; None for nothing.

    :raises UsageError: a setting that is not known, or no host of ours to arm
    """
    if arguments.arm is None:
        return None
    if arguments.kernel or arguments.target is Where.LAB:
        raise UsageError("--arm is for this host; a run on the emulated one needs none")
    return sensible(HostFiles()) if arguments.arm == _SENSIBLE else settings_of(arguments.arm)


def check_host(arguments: argparse.Namespace) -> list[str]:
    """Refuse a host that a run should not begin on; return what the run's reader should know.

    :raises Unavailable: ``tainted``, ``busy``
    """
    files, own_pid = HostFiles(), os.getpid()
    if not arguments.allow_tainted:
        checks.refuse_tainted(files)
    if arguments.hazardous:
        if not arguments.shared:
            checks.refuse_other_vms(files, own_pid)
        tell(checks.service_warning(files))
    return [note for note in (*checks.notes(files, own_pid), clear_fired(files)) if note]


def tell(line: str) -> None:
    """Say a line at once, on standard error; nothing for an empty one."""
    if line:
        terminal.tell(f"kvmprobe: {line}")
