"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.exit_style import OPTION, ExitStyle
from kvmprobe.cli.grammar.choices import Where
from kvmprobe.lab.cpu_profile import DEFAULT_CPU, MOST_PROCESSORS, PROFILES

if TYPE_CHECKING:
    from argparse import _ActionsContainer


RUN_HELP = "a run's directory, or the FILE of `run --json`"


def add_device(command: _ActionsContainer) -> None:
    """Declare ``--device``."""
    command.add_argument(
        "--device", default="/dev/kvm", metavar="PATH", help="KVM device (default: %(default)s)"
    )


def add_host_or_lab(command: _ActionsContainer, what: str) -> None:
    """Declare ``--target`` of a command that has no ``auto``.

    :param what: the beginning of its help
    """
    command.add_argument(
        "--target",
        choices=[Where.HOST.value, Where.LAB.value],
        help=f"{what} (default: this host, unless an option of the emulated host is given)",
    )


def add_kernel(command: _ActionsContainer) -> None:
    """Declare the kernel of the emulated host, and where it comes from."""
    command.add_argument(
        "--kernel",
        metavar="SPEC",
        help="use the emulated host with that kernel: a Debian version (6.12.95, 6.1), a .deb (or "
        "several, separated by commas), a bzImage, a build tree, or `installed` "
        "(default: the newest packaged kernel with KVM modules)",
    )
    command.add_argument(
        "--modules", type=Path, metavar="DIR", help="directory with the modules of a bzImage"
    )
    add_sources(command)


def add_sources(command: _ActionsContainer) -> None:
    """Declare archives and the source of the emulator."""
    add_archive(command)
    command.add_argument(
        "--tarball",
        type=Path,
        metavar="FILE",
        help="source of the emulator, already downloaded: bochs_3.0+dfsg.orig.tar.xz, from "
        "pool/main/b/bochs of a Debian archive; needed only until the emulator is built",
    )


def add_archive(command: _ActionsContainer) -> None:
    """Declare archives."""
    command.add_argument(
        "--archive",
        action="append",
        default=[],
        metavar="'URI SUITE[,SUITE...]'",
        help="get kernels and the source of the emulator from this archive "
        "(default: the archives in this machine's apt configuration)",
    )


def add_emulated(command: _ActionsContainer) -> None:
    """Declare the kernel of the emulated host, and how its machines start and run."""
    add_kernel(command)
    add_variant(command)
    add_jobs(command, "the processors that this process may use")
    add_cold(command)


def add_cold(command: _ActionsContainer) -> None:
    """Declare ``--cold``."""
    command.add_argument(
        "--cold",
        action="store_true",
        help="boot the emulated host, and save nothing: by default a booted machine is saved in "
        "the cache, and later runs with the same kernel, emulator and kvmprobe start from it",
    )


def add_variant(command: _ActionsContainer) -> None:
    """Declare what differs from the default emulated host."""
    command.add_argument(
        "--cpu",
        choices=PROFILES,
        help="use the emulated host with a processor that is "
        + "; ".join(f"{profile.summary} ({name})" for name, profile in PROFILES.items())
        + f" (default: {DEFAULT_CPU.summary})",
    )
    command.add_argument(
        "--cpus",
        type=Number(int, 1, MOST_PROCESSORS, "processors"),
        metavar="N",
        default=1,
        help="use the emulated host with N processors if N is not 1 (default: %(default)s)",
    )
    command.add_argument(
        "--append",
        action="append",
        default=[],
        metavar="WORDS",
        help="use the emulated host with these kernel parameters at the end of the command line, "
        "for example nopku, or kvm_intel.ept=0; several may be given, in one word or in several",
    )


def add_jobs(command: _ActionsContainer, default: str) -> None:
    """Declare ``--jobs``.

    :param default: the help's description of the default
    """
    command.add_argument(
        "--jobs",
        type=Number(int, 1, MOST_JOBS, "jobs"),
        metavar="N",
        help="on the emulated host, run N scenarios side by side, each on a machine of its own; "
        f"results and their order do not depend on N (default: {default})",
    )


def add_fleet(command: _ActionsContainer) -> None:
    """Declare the options of a campaign."""
    command.add_argument(
        "--scheduler",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on the workers of the dask scheduler at tls://HOST:PORT, or at "
        "tcp://127.0.0.1:PORT; without an address, on a scheduler in this process "
        "(needs kvmprobe[fleet])",
    )
    command.add_argument(
        "--tls",
        type=Path,
        metavar="DIR",
        help="the client's certificate, from `kvmprobe fleet certs DIR` (default: dask's "
        "configuration)",
    )
    command.add_argument(
        "--patience",
        type=RUN_TIME,
        default=PATIENCE,
        metavar="SECONDS",
        help="wait so long for a worker, and for a machine that may have crashed to come back "
        "(default: %(default)g)",
    )


def add_coverage(command: _ActionsContainer) -> None:
    """Declare ``--coverage``."""
    command.add_argument(
        "--coverage",
        action="store_true",
        help="on the emulated host, record which basic blocks of the kernel each scenario reaches, "
        "for `kvmprobe coverage` and the HTML report",
    )


def add_exit_style(command: _ActionsContainer, meaning: str) -> None:
    """Declare ``--exit-style``."""
    command.add_argument(OPTION, choices=[style.value for style in ExitStyle], help=meaning)


MOST_JOBS = 1024
PATIENCE = 600.0
DAY = 24 * 60 * 60.0


@dataclass(frozen=True, slots=True)
class Number:
    """Reads a number within a range, for argparse.

    :ivar unit: what it counts, for the message
    """

    kind: type[int] | type[float]
    least: float
    most: float
    unit: str

    def __call__(self, text: str) -> float:
        """Return the number.

        :raises ArgumentTypeError: it is not a number, or it is out of range
        """
        try:
            value = self.kind(text)
        except ValueError:
            value = self.kind(-1)
        if not self.least <= value <= self.most:  # also false for nan
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a number of {self.unit} from {self.least:g} to {self.most:.0f}"
            )
        return value


# A day: the emulated host's clock is ten times slower, and poll() takes 2^31 ms at most.
seconds = Number(float, 0.001, DAY, "seconds")
RUN_TIME = Number(float, 0.001, 30 * DAY, "seconds")
