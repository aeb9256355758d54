"""Where the command line lets scenarios run, and past which hazards."""

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
    """Refuse ``--kernel`` for this host.

    :raises UsageError: ``--kernel`` and ``--target host`` are given
    """
    if arguments.target is Where.HOST and arguments.kernel:
        raise UsageError("--kernel chooses the emulated host and excludes --target host")


def emulated_host(arguments: argparse.Namespace, status: Progress) -> Place:
    """Return the emulated host with the wanted kernel.

    :raises LabError: the kernel or the emulator is not available
    """
    # Imported only for an emulated host.
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
    """Return the policy for scenarios that can crash the place."""
    if place.risk is Risk.REAL and not arguments.hazardous:
        return Hazardous.STOP
    return Hazardous.EVERY if arguments.all_crashes else Hazardous.FIRST_OF_A_KIND
