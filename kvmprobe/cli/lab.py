"""``kvmprobe lab``: build the emulator; run any program on the emulated host."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kvmprobe.cli.archives import archives_of
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode
from kvmprobe.lab import emulator, kernels, program

if TYPE_CHECKING:
    import argparse

    from rich.console import Console


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Set up, or run a program."""
    match arguments.lab_command:
        case "setup":
            return _set_up(arguments, console)
        case _:
            return _execute(arguments)


def _set_up(arguments: argparse.Namespace, console: Console) -> ExitCode:
    with progress() as status:
        built = emulator.ensure(archives_of(arguments), status, tarball=arguments.tarball)
    console.print(f"emulator: {built.bochs}", soft_wrap=True)
    return ExitCode.OK


def _execute(arguments: argparse.Namespace) -> int:
    archives = archives_of(arguments)
    with progress() as status:
        built = emulator.ensure(archives, status, tarball=arguments.tarball)
        kernel = kernels.resolve(
            arguments.kernel, modules_dir=arguments.modules, archives=archives, progress=status
        )
    return program.run_program(
        kernel, built, arguments.file, arguments.program, sys.stdout.buffer, sys.stderr.buffer
    )
