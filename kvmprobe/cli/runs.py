"""``kvmprobe runs``: the runs that were kept, and one scenario's outcomes across them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from kvmprobe.errors import ExitCode
from kvmprobe.reports.console import print_lines
from kvmprobe.results.index import Index, RecordRow, RunRow
from kvmprobe.results.run_directory import runs_folder

if TYPE_CHECKING:
    import argparse

    from rich.console import Console


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Bring the index up to date; tell what was asked of it.

    :raises RunDirectoryError: the index cannot be written
    """
    with Index(runs_folder()) as index:
        for complaint in index.refresh(arguments.also):
            print(f"kvmprobe: {complaint}", file=sys.stderr)
        rows = _asked(index, arguments)
    if not rows:
        what = "record like that" if _globs(arguments) else "run"
        print(f"kvmprobe: no {what} in {runs_folder()}", file=sys.stderr)
    told = [json.dumps([asdict(row) for row in rows], indent=1)]
    print_lines(console, told if arguments.json else map(_line, rows))
    return ExitCode.OK


def _asked(index: Index, arguments: argparse.Namespace) -> list[RunRow] | list[RecordRow]:
    if globs := _globs(arguments):
        return list(index.records(*globs))
    return index.runs()


def _globs(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return what records were asked for; nothing if the runs were."""
    globs = (arguments.scenario, arguments.kernel, arguments.verdict)
    return tuple(glob or "*" for glob in globs) if any(globs) else ()


def _line(row: RunRow | RecordRow) -> str:
    match row:
        case RunRow():
            where = f"{row.kernel} ({row.target})" if row.kernel else "nothing ran"
            cut = "" if row.complete else f", cut short, {row.not_completed} not completed"
            return f"{row.began}  {where}: {_counts(row)}{cut}\n  {row.path}"
        case RecordRow():
            known = f": {row.known}" if row.known else ""
            where = f"{row.kernel} ({row.target})"
            return f"{row.scenario}  {where}  {row.began}  {row.verdict}{known}"


def _counts(row: RunRow) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in row.counts.items()) or "no record"
