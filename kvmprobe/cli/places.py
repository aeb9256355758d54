"""Where scenarios run, by the command line, and what they may do there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.choices import Where
from kvmprobe.errors import UsageError
from kvmprobe.execution.place import Risk
from kvmprobe.execution.runner import Hazardous

if TYPE_CHECKING:
    import argparse

    from kvmprobe.execution.place import Place
    from kvmprobe.progress import Progress


def refuse_kernel_of_host(arguments: argparse.Namespace) -> None:
    """Refuse to choose this host's kernel.

    :raises UsageError: ``--kernel`` stands beside ``--target host``
    """
    if arguments.target is Where.HOST and arguments.kernel:
        raise UsageError("--kernel means the emulated host; it does not go with --target host")


def emulated_host(arguments: argparse.Namespace, status: Progress) -> Place:
    """Return the emulated host with the kernel that is asked for.

    :raises LabError: it cannot be had
    """
    # Loaded only where an emulated host is wanted.
    from kvmprobe.cli.archives import archives_of  # noqa: PLC0415
    from kvmprobe.lab.place import EmulatedHost  # noqa: PLC0415

    return EmulatedHost.prepare(
        archives_of(arguments),
        arguments.kernel,
        arguments.modules,
        status,
        tarball=arguments.tarball,
    )


def crash_policy(arguments: argparse.Namespace, place: Place) -> Hazardous:
    """Return what to do at a place with scenarios that can kill it."""
    if place.risk is Risk.REAL and not arguments.hazardous:
        return Hazardous.STOP
    return Hazardous.EVERY if arguments.all_crashes else Hazardous.FIRST_OF_A_KIND
