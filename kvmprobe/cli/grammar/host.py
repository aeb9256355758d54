"""Arguments about the host that scenarios run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.choices import Where
from kvmprobe.errors import UsageError
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
