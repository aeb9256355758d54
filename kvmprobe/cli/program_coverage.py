"""``kvmprobe lab exec --coverage``: what a program reaches of the kernel, in a file."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from kvmprobe.cli import files
from kvmprobe.cli.places import variant_of
from kvmprobe.cli.terminal import print_line
from kvmprobe.coverage.coverage_file import to_text
from kvmprobe.errors import BootFailed, NoCoverage, UsageError
from kvmprobe.lab.coverage import ProgramCoverage
from kvmprobe.results.record import Target

if TYPE_CHECKING:
    import argparse

    from kvmprobe.lab.kernel_store import Kernel
    from kvmprobe.lab.watched_kernel import KernelReader
    from kvmprobe.progress import Progress


def watch(
    arguments: argparse.Namespace, kernel: Kernel, reader: KernelReader, status: Progress
) -> ProgramCoverage | None:
    """Return what watches the program; None if it is not wanted, or not possible."""
    if arguments.coverage is None:
        return None
    if arguments.disk is not None:
        raise UsageError(
            "--coverage with --disk: the disk's modules are loaded first and move those of KVM"
        )
    try:
        return ProgramCoverage(reader.functions(kernel, status))
    except (NoCoverage, BootFailed) as reason:
        print_line(f"kvmprobe: coverage is not measured: {reason}")
        return None


def write(arguments: argparse.Namespace, kernel: Kernel, coverage: ProgramCoverage) -> None:
    """Write what the program reached."""
    if coverage.blocks is None:
        why = coverage.problem or "the emulated host ended before it reported what was reached"
        print_line(f"kvmprobe: coverage was not measured: {why}")
        return
    target = Target("lab", kernel.label, kernel.source, variant_of(arguments))
    text = to_text(target, coverage.functions, shlex.join(arguments.program), coverage.blocks)
    files.write("--coverage", arguments.coverage, text)
