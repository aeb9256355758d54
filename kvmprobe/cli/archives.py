"""Where kernels and the emulator's source come from, by the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.cli.places import variant_of
from kvmprobe.lab import emulator
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.sources import parse_archive

if TYPE_CHECKING:
    import argparse

    from kvmprobe.lab.emulator import Emulator
    from kvmprobe.progress import Progress


def archives_of(arguments: argparse.Namespace) -> Archives:
    """Return the archives that the arguments name, or else the machine's own."""
    sources = tuple(parse_archive(text) for text in arguments.archive)
    return Archives(Cache.from_environment(), sources)


def emulator_of(arguments: argparse.Namespace, archives: Archives, progress: Progress) -> Emulator:
    """Return the emulator of the host that the arguments name; see :func:`emulator.ensure`."""
    processors = variant_of(arguments).processors
    return emulator.ensure(archives, progress, tarball=arguments.tarball, processors=processors)
