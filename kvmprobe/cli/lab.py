"""``kvmprobe lab``: build the emulator; run any program on the emulated host."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, BinaryIO

from kvmprobe.cli.archives import archives_of
from kvmprobe.cli.terminal import LinePerStage, StatusLine, progress
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.lab import emulator, kernels, own_command
from kvmprobe.lab.disk import Disk
from kvmprobe.lab.program import GuestFile, Hardware, Program, Sinks, run_program

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

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


class _UntilProgramStarts:
    """Progress that leaves the terminal to the program once that runs."""

    def __init__(self, status: StatusLine | LinePerStage) -> None:
        self._status = status

    def stage(self, text: str) -> None:
        """Show it, but for the last."""
        if text.endswith(": start"):
            self._status.__exit__()
        else:
            self._status.stage(text)

    def advance(self, done: int, total: int) -> None:
        """Show it."""
        self._status.advance(done, total)

    def now(self, text: str) -> None:
        """Show it."""
        self._status.now(text)


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
        raise UsageError("--disk-size: of which disk? (--disk FILE)")
    return None


def _execute(arguments: argparse.Namespace) -> int:
    archives = archives_of(arguments)
    takes_kvmprobe = arguments.with_kvmprobe or arguments.program[0] == own_command.NAME
    program = Program(
        tuple(arguments.program),
        tuple(GuestFile.parse(text) for text in arguments.file),
        Hardware(arguments.cpus, arguments.memory, _disk_of(arguments)),
        archives.cache.folder("pycache") if takes_kvmprobe else None,
    )
    with progress() as status, _opened(arguments.kernel_log) as kernel_log:
        until_start = _UntilProgramStarts(status)
        kernel = kernels.resolve(
            arguments.kernel, modules_dir=arguments.modules, archives=archives, progress=until_start
        )
        built = emulator.ensure(archives, until_start, tarball=arguments.tarball)
        sinks = Sinks(sys.stdout.buffer, sys.stderr.buffer, kernel_log)
        return run_program(kernel, built, program, sinks, until_start, arguments.silence)
