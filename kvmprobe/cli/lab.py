"""``kvmprobe lab``: build the emulator; run any program on the emulated host."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, BinaryIO

from kvmprobe.cli.archives import archives_of
from kvmprobe.cli.terminal import LinePerStage, StatusLine, progress
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.lab import emulator, kernels
from kvmprobe.lab.program import GuestFile, Hardware, Outlets, Program, run_program

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


def _execute(arguments: argparse.Namespace) -> int:
    program = Program(
        tuple(arguments.program),
        tuple(GuestFile.parse(text) for text in arguments.file),
        Hardware(arguments.cpus, arguments.memory),
    )
    archives = archives_of(arguments)
    with progress() as status, _opened(arguments.kernel_log) as kernel_log:
        until_start = _UntilProgramStarts(status)
        kernel = kernels.resolve(
            arguments.kernel, modules_dir=arguments.modules, archives=archives, progress=until_start
        )
        built = emulator.ensure(archives, until_start, tarball=arguments.tarball)
        outlets = Outlets(sys.stdout.buffer, sys.stderr.buffer, kernel_log)
        return run_program(kernel, built, program, outlets, until_start)
