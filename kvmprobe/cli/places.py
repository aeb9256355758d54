"""Where the command line lets scenarios run, and past which hazards."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.choices import Where
from kvmprobe.errors import BootFailed, NoCoverage, UsageError
from kvmprobe.execution.place import Risk, ThisHost
from kvmprobe.execution.runner import Hazardous
from kvmprobe.results.host_variant import HostVariant

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from kvmprobe.execution.journaling import Journaling
    from kvmprobe.execution.place import Place
    from kvmprobe.lab.place import EmulatedHost
    from kvmprobe.progress import Progress


def refuse_kernel_of_host(arguments: argparse.Namespace) -> None:
    """Refuse for this host what only the emulated host can do.

    :raises UsageError: ``--kernel``, an option of a host variant, or ``--jobs`` above 1, and
        ``--target host`` are given
    """
    if arguments.target != Where.HOST:
        return
    if arguments.kernel:
        raise UsageError("--kernel chooses the emulated host and excludes --target host")
    if options := variant_of(arguments).options:
        raise UsageError(f"{options}: only for the emulated host, which --target host excludes")
    if (arguments.jobs or 1) > 1:
        raise UsageError(
            f"--jobs {arguments.jobs} is for the emulated host: on a real one, scenarios share the "
            "kernel log and the taint, so that only one can run at a time"
        )


def variant_of(arguments: argparse.Namespace) -> HostVariant:
    """Return how the emulated host is to differ from the default one.

    :raises UsageError: the kernel parameters cannot be in a command line
    """
    try:
        return HostVariant(" ".join(arguments.append), arguments.cpu or "", arguments.cpus)
    except ValueError as error:
        raise UsageError(f"--append: {error}") from error


def is_emulated(arguments: argparse.Namespace) -> bool:
    """Return True if the arguments choose the emulated host."""
    chosen = arguments.kernel or variant_of(arguments).options
    return bool(chosen) or arguments.target == Where.LAB


def emulated_host(arguments: argparse.Namespace, status: Progress) -> EmulatedHost:
    """Return the emulated host with the wanted kernel and parameters.

    :raises LabError: the kernel or the emulator is not available
    """
    # Imported only for an emulated host.
    from kvmprobe.cli.archives import archives_of  # noqa: PLC0415
    from kvmprobe.lab.place import EmulatedHost, Startup  # noqa: PLC0415

    place = EmulatedHost.prepare(
        archives_of(arguments),
        arguments.kernel,
        arguments.modules,
        status,
        tarball=arguments.tarball,
        start=Startup.COLD if arguments.cold else Startup.WARM,
        variant=variant_of(arguments),
    )
    return replace(place, jobs=jobs_of(arguments))


def jobs_of(arguments: argparse.Namespace) -> int:
    """Return how many machines may work at once: ``--jobs``, or one for each usable processor."""
    jobs: int = arguments.jobs or len(os.sched_getaffinity(0))
    return jobs


@contextlib.contextmanager
def place_of(arguments: argparse.Namespace, status: Progress) -> Iterator[Place]:
    """Open the place that ``--target`` and the options of the emulated host choose.

    :raises UsageError: they contradict each other
    :raises LabError: the emulated host is not available
    """
    refuse_kernel_of_host(arguments)
    if not is_emulated(arguments):
        yield ThisHost(arguments.device)
        return
    with emulated_host(arguments, status) as host:
        yield host


def watched(
    place: EmulatedHost,
    arguments: argparse.Namespace,
    ledger: Journaling,
    notes: list[str],
    status: Progress,
) -> EmulatedHost:
    """Return the place, with coverage if it is wanted and possible.

    :param notes: gets the reason if it is wanted and not possible
    """
    if not arguments.coverage:
        return place
    # Imported only for an emulated host.
    from kvmprobe.cli.archives import archives_of  # noqa: PLC0415

    try:
        found = place.watched(archives_of(arguments).cache, status)
    except (NoCoverage, BootFailed) as reason:
        notes.append(f"coverage was not measured: {reason}")
        return place
    if found.coverage is not None:
        ledger.watches(found.coverage.functions)
    return found


def crash_policy(arguments: argparse.Namespace, place: Place) -> Hazardous:
    """Return the policy for scenarios that can crash the place."""
    if place.risk is Risk.EXPENDABLE or (arguments.hazardous and arguments.all_crashes):
        return Hazardous.EVERY
    return Hazardous.FIRST_OF_A_KIND if arguments.hazardous else Hazardous.STOP
