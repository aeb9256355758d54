"""A run on one of several kernels: a run of its own, whose failure to start is no error."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from rich.console import Console

from kvmprobe.cli import run as running
from kvmprobe.cli.attempt import next_attempt
from kvmprobe.cli.grammar.parser import parser
from kvmprobe.errors import (
    BootFailed,
    FleetError,
    KvmprobeError,
    LabError,
    RunDirectoryError,
    Unavailable,
    UsageError,
)
from kvmprobe.execution.journaling import now
from kvmprobe.results.matrix import read_matrix
from kvmprobe.results.run_directory import is_run_directory, runs_folder
from kvmprobe.results.run_document import read_outcomes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kvmprobe.results.matrix import Matrix

NOT_RUN = (FleetError, LabError, Unavailable, UsageError)


def new_directory(path: Path | None, kind: str) -> Path:
    """Create the directory of several runs; absolute.

    :param path: where; None for a new one among the runs
    :raises UsageError: it is not empty, or cannot be created
    """
    name = f"{kind}-{now().replace(':', '')}-{uuid.uuid4().hex[:8]}"
    folder = (path or runs_folder() / name).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(
                f"{folder}: not empty; `kvmprobe resume {folder}` continues a run or a matrix"
            )
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; choose another with --out DIR") from error
    return folder


def first_attempt(path: Path) -> tuple[argparse.Namespace, Matrix]:
    """Return the arguments that several runs began with, and their plan.

    Changes to the working directory of that attempt, for relative paths in its arguments.

    :param path: their directory
    :raises UsageError: they cannot be continued with this kvmprobe, or the directory is gone
    """
    matrix = read_matrix(path)
    try:
        arguments = parser(matrix.argv).parse_args(matrix.argv)
    except SystemExit as refused:
        raise UsageError(f"{path}: this kvmprobe does not accept its arguments") from refused
    try:
        os.chdir(matrix.directory)
    except OSError as error:
        raise UsageError(f"{matrix.directory}: {error.strerror}") from error
    arguments.argv = list(matrix.argv)
    return arguments, matrix


def words_for(arguments: argparse.Namespace, spec: str, options: Sequence[str]) -> list[str]:
    """Return the command line of `run` for a kernel.

    :param options: names of the options that it is given as they are
    """
    return ["run", "--kernel", spec, *words_of(arguments, options)]


def words_of(arguments: argparse.Namespace, options: Sequence[str]) -> Iterator[str]:
    """Yield the options of a command line as they were given.

    :param options: their names
    """
    for name in options:
        value, option = getattr(arguments, name), f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            if value:
                yield option
        elif value is not None:
            values = value if isinstance(value, list) else [value]
            yield from (f"{option}={one}" for one in values)


def complete(words: Sequence[str], folder: Path, jobs: int | None) -> str:
    """Run what has no record yet; return why that is not possible, empty if it is.

    :param words: the command line of a run that has not begun
    :param jobs: of a run that is continued; None for those of its first attempt
    :raises RunDirectoryError: nothing can be kept
    """
    silent = Console(quiet=True)
    try:
        asked = parser(words).parse_args(words)
        if not is_run_directory(folder):
            given = asked
            given.argv, given.out = list(words), folder
            running.run(given, silent)
        elif read_outcomes(folder).missing:
            argv, attempt = next_attempt(folder, retries=0)
            given = parser(argv).parse_args(argv)
            given.jobs, given.scheduler = jobs or given.jobs, asked.scheduler
            running.carry_out(given, attempt, silent)
    except RunDirectoryError:
        raise
    except NOT_RUN as error:
        return reason_of(error)
    return ""


def reason_of(error: KvmprobeError) -> str:
    """Return why a kernel could not be tested, in one line."""
    text = "; ".join(line.strip() for line in str(error).splitlines())
    return f"did not boot: {text}" if isinstance(error, BootFailed) else text
