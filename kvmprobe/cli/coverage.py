"""``kvmprobe coverage``: which basic blocks of the kernel a run reached, and which it did not."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.shared import add_archive
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.reports.console import print_lines

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from kvmprobe.coverage.measured import Measured
    from kvmprobe.results.record import Target

_HELP = "the directory of a run with --coverage, or a file of `kvmprobe lab exec --coverage`"


def add_arguments(coverage: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    coverage.add_argument("run", type=Path, metavar="RUN", help=_HELP)
    shown = coverage.add_mutually_exclusive_group()
    shown.add_argument(
        "--blocks",
        metavar="PATTERN",
        help="show the blocks of these functions, with their instructions and who reached them",
    )
    shown.add_argument(
        "--unreached",
        metavar="PATTERN",
        nargs="?",
        const="*",
        help="show the blocks that were not reached, and why (of these functions; default: all)",
    )
    coverage.add_argument(
        "--lines",
        action="store_true",
        help="with --blocks or --unreached: show each block's source line; this downloads the "
        "kernel's -dbg package once (300 MB and more)",
    )
    add_archive(coverage)
    shown.add_argument(
        "--diff", type=Path, metavar="RUN", help="show the blocks that only one of two runs reached"
    )


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Show it."""
    # Imported late: the decoder is only needed here.
    from kvmprobe.reports.coverage import block_lines, coverage_lines, diff_lines  # noqa: PLC0415

    pattern = arguments.blocks or arguments.unreached
    if arguments.lines and pattern is None:
        raise UsageError("--lines needs --blocks or --unreached, which show the blocks")
    found = _read(arguments.run)
    if arguments.diff is not None:
        other = _read(arguments.diff)
        for target in _in_both(arguments, found, other):
            before, after = found[target], other[target]
            names = str(arguments.run), str(arguments.diff)
            print_lines(console, diff_lines(target, before, after, *names))
        return ExitCode.OK
    for target, measured in found.items():
        if pattern is None:
            print_lines(console, coverage_lines(target, measured))
            continue
        lines = block_lines(
            target,
            measured,
            lambda name: fnmatchcase(name, pattern),
            _lines(arguments, target, measured, pattern),
            unreached=arguments.blocks is None,
        )
        print_lines(console, lines)
    return ExitCode.OK


def _lines(
    arguments: argparse.Namespace, target: Target, measured: Measured, pattern: str
) -> dict[int, str]:
    """Return the source line of each block that is shown, by its address, if they are wanted."""
    if not arguments.lines:
        return {}
    from kvmprobe.cli.archives import archives_of  # noqa: PLC0415
    from kvmprobe.coverage.scope import source_name  # noqa: PLC0415
    from kvmprobe.lab import debug_files  # noqa: PLC0415
    from kvmprobe.lab.source_lines import lines_of  # noqa: PLC0415

    with progress() as status:
        files = debug_files.ensure(target, archives_of(arguments), status)
        status.stage(f"{target.description}: source lines")
        shown = (
            block
            for block in measured.blocks
            if fnmatchcase(source_name(block.function.symbol), pattern)
        )
        return lines_of(shown, files)


def _read(path: Path) -> dict[Target, Measured]:
    """Return the coverage of a run or file.

    :raises UsageError: it has none
    """
    from kvmprobe.coverage.coverage_file import read_file  # noqa: PLC0415
    from kvmprobe.coverage.of_run import coverage_of_directory  # noqa: PLC0415

    found = read_file(path) if path.is_file() else coverage_of_directory(path)
    if not found:
        raise UsageError(
            f"{path}: coverage was not measured; `kvmprobe run --coverage` measures it on the "
            "emulated host"
        )
    return found


def _in_both(
    arguments: argparse.Namespace, found: dict[Target, Measured], other: dict[Target, Measured]
) -> list[Target]:
    common = [target for target in found if target in other]
    if not common:
        raise UsageError(
            f"{arguments.run} and {arguments.diff} are of different kernels, whose blocks cannot "
            "be compared: "
            f"{', '.join(t.description for t in found)}; {', '.join(t.description for t in other)}"
        )
    for target in common:
        if not found[target].has_blocks_of(other[target]):
            raise UsageError(
                f"{target.description}: the two were measured with different lists of functions"
            )
    return common
