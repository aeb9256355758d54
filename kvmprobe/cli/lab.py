"""``kvmprobe lab``: emulator and kernels of the emulated host; run any program on it."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from kvmprobe.cli import lab_kernels, suite
from kvmprobe.cli.archives import archives_of, emulator_of
from kvmprobe.cli.grammar.epilogs import DISKS, end_with
from kvmprobe.cli.grammar.shared import Number, add_kernel, add_sources, add_variant, seconds
from kvmprobe.cli.places import variant_of
from kvmprobe.cli.program_coverage import watch, write
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.lab import emulator, kernels, own_command
from kvmprobe.lab.boot_image import MEMORY_MIB, MOST_MEMORY_MIB
from kvmprobe.lab.disk import MOUNT_POINT, SMALLEST_MIB, Disk
from kvmprobe.lab.program import (
    SILENCE_SECONDS,
    GuestFile,
    Hardware,
    Program,
    Sinks,
    run_program,
)
from kvmprobe.lab.watched_kernel import KernelReader
from kvmprobe.reports.console import print_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rich.console import Console


def add_arguments(lab: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    commands = lab.add_subparsers(dest="lab_command", metavar="COMMAND")
    lab.set_defaults(print_help=lab.print_help)
    setup = commands.add_parser("setup", help="build the emulator, once, in the user's cache")
    add_sources(setup)
    listing = commands.add_parser(
        "kernels", help="list the kernels that the archives offer, and those in the cache"
    )
    lab_kernels.add_listing(listing)
    fetching = commands.add_parser("fetch", help="fetch and verify kernels, without running them")
    lab_kernels.add_fetching(fetching)
    pruning = commands.add_parser(
        "prune",
        help="remove the saved machines from which runs start without a boot, and unused kernels",
    )
    lab_kernels.add_pruning(pruning)
    suites = commands.add_parser(
        "suite", help="build upstream's selftests and run them on the emulated host"
    )
    suite.add_arguments(suites)
    program = commands.add_parser("exec", help="run a program on the emulated host")
    program.usage = "%(prog)s [OPTION]... -- COMMAND [ARGUMENT]..."
    end_with(program, DISKS)
    add_kernel(program)
    add_variant(program)
    program.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="PATH[:GUESTPATH]",
        help="copy a file or directory into the guest",
    )
    program.add_argument(
        "--with-kvmprobe",
        action="store_true",
        help="copy this kvmprobe into the guest, for scripts (done anyway if COMMAND is kvmprobe)",
    )
    program.add_argument(
        "--disk",
        metavar="FILE[:MOUNTPOINT]",
        help="an ext4 image that keeps its contents after a panic"
        f" (default mount point: {MOUNT_POINT})",
    )
    program.add_argument(
        "--disk-size",
        type=Number(int, SMALLEST_MIB, 1 << 20, "MiB"),
        metavar="MIB",
        help="make the disk if FILE does not exist",
    )
    program.add_argument(
        "--memory",
        type=Number(int, 64, MOST_MEMORY_MIB, "MiB"),
        default=MEMORY_MIB,
        metavar="MIB",
        help="memory; more if the files need it (default: %(default)s)",
    )
    program.add_argument(
        "--kernel-log",
        type=Path,
        metavar="FILE",
        help="boot verbosely and write the kernel's console to FILE, for example /dev/stderr",
    )
    program.add_argument(
        "--coverage",
        type=Path,
        metavar="FILE",
        help="write to FILE which basic blocks of the kernel the program reaches, for "
        "`kvmprobe coverage FILE`",
    )
    program.add_argument(
        "--silence",
        type=seconds,
        default=SILENCE_SECONDS,
        metavar="SECONDS",
        help="time without output that counts as a hang (default: %(default)g)",
    )
    program.add_argument(
        "program",
        nargs="+",
        metavar="-- COMMAND",
        help="the program, by its path on this host or in the guest, and its arguments",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Prepare the emulated host, or run a program on it."""
    commands: dict[str, Callable[[argparse.Namespace, Console], int]] = {
        "setup": _set_up,
        "kernels": lab_kernels.list_kernels,
        "fetch": lab_kernels.fetch,
        "prune": lab_kernels.prune,
        "suite": suite.run,
        "exec": _execute,
    }
    command = commands.get(arguments.lab_command)
    if command is None:
        arguments.print_help(sys.stderr)
        return ExitCode.USAGE
    return command(arguments, console)


def _set_up(arguments: argparse.Namespace, console: Console) -> ExitCode:
    with progress() as status:
        archives, tarball = archives_of(arguments), arguments.tarball
        one = emulator.ensure(archives, status, tarball=tarball)
        several = emulator.ensure(archives, status, tarball=tarball, processors=2)
    print_lines(console, [f"emulator: {one.bochs}", f"of several processors: {several.bochs}"])
    return ExitCode.OK


def _opened(path: Path | None) -> contextlib.AbstractContextManager[BinaryIO | None]:
    if path is None:
        return contextlib.nullcontext()
    try:
        return path.open("wb")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _disk_of(arguments: argparse.Namespace) -> Disk | None:
    if arguments.disk is not None:
        return Disk.parse(arguments.disk, arguments.disk_size)
    if arguments.disk_size is not None:
        raise UsageError("--disk-size needs --disk FILE")
    return None


def _execute(arguments: argparse.Namespace, _console: Console) -> int:
    archives = archives_of(arguments)
    takes_kvmprobe = arguments.with_kvmprobe or arguments.program[0] == own_command.NAME
    program = Program(
        tuple(arguments.program),
        tuple(GuestFile.parse(text) for text in arguments.file),
        Hardware(arguments.memory, _disk_of(arguments), variant_of(arguments)),
        archives.cache.folder("pycache") if takes_kvmprobe else None,
    )
    with progress() as status, _opened(arguments.kernel_log) as kernel_log:
        kernel = kernels.resolve(
            arguments.kernel, modules_dir=arguments.modules, archives=archives, progress=status
        )
        built = emulator_of(arguments, archives, status)
        reader = KernelReader(archives.cache, built, variant_of(arguments))
        coverage = watch(arguments, kernel, reader, status)
        program = replace(program, watch=coverage)
        # The status line would disturb the program's output.
        sinks = Sinks(sys.stdout.buffer, sys.stderr.buffer, kernel_log, started=status.stop)
        try:
            return run_program(kernel, built, program, sinks, status, arguments.silence)
        finally:
            if coverage is not None:
                write(arguments, kernel, coverage)
