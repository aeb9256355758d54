"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.exit_style import OPTION, ExitStyle

if TYPE_CHECKING:
    from argparse import _ActionsContainer


RUN_HELP = "a run's directory, or the FILE of `run --json`"


def add_device(command: _ActionsContainer) -> None:
    """Take another KVM device."""
    command.add_argument(
        "--device", default="/dev/kvm", metavar="PATH", help="KVM device (default: %(default)s)"
    )


def add_kernel(command: _ActionsContainer) -> None:
    """Take the kernel of the emulated host, and where to get it."""
    command.add_argument(
        "--kernel",
        metavar="SPEC",
        help="emulated host with that kernel: a Debian version (6.12.95, 6.1), a .deb (or several, "
        "separated by commas), a bzImage or build tree, or `installed`; "
        "without it, the newest packaged kernel that has its KVM modules",
    )
    command.add_argument(
        "--modules", type=Path, metavar="DIR", help="where the modules of a bzImage are"
    )
    add_sources(command)


def add_sources(command: _ActionsContainer) -> None:
    """Take archives and the emulator's source."""
    command.add_argument(
        "--archive",
        action="append",
        default=[],
        metavar="'URI SUITE[,SUITE...]'",
        help="take kernels and the emulator's source from this archive, not from the machine's own",
    )
    command.add_argument(
        "--tarball", type=Path, metavar="FILE", help="the emulator's source, already here"
    )


def add_exit_style(command: _ActionsContainer, meaning: str) -> None:
    """Take whose exit statuses to end with."""
    command.add_argument(OPTION, choices=[style.value for style in ExitStyle], help=meaning)


def count(text: str) -> int:
    """Read a number that is not negative, for argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def seconds(text: str) -> float:
    """Read a positive number of seconds, for argparse."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value
