"""``kvmprobe runs``: the kept runs, and the outcomes of scenarios across them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import ExitCode
from kvmprobe.reports.console import print_lines
from kvmprobe.results.index import Index, RecordRow, RunRow
from kvmprobe.results.run_directory import runs_folder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console

SCHEMA = "kvmprobe-runs/1"


def add_arguments(runs: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    runs.add_argument("--scenario", metavar="GLOB", help="records of these scenarios, by kernel")
    runs.add_argument("--kernel", metavar="GLOB", help="records on these kernels")
    runs.add_argument("--verdict", metavar="GLOB", help="records with these verdicts")
    runs.add_argument(
        "--also",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="include a run that `run --out DIR` made elsewhere",
    )
    runs.add_argument("--json", action="store_true", help="as a JSON document")


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Update the index, then print what it has; status 2 if a run of --also cannot be read.

    :raises RunDirectoryError: the index cannot be written
    """
    with Index(runs_folder()) as index:
        for complaint in index.refresh(arguments.also):
            print(f"kvmprobe: {complaint}", file=sys.stderr)
        rows = _asked(index, arguments)
        indexed = {Path(row.path) for row in index.runs()}
    if not rows and not arguments.json:
        what = "record like that" if _globs(arguments) else "run"
        print(
            f"kvmprobe: no {what} in {runs_folder()}; "
            "--also DIR includes a run that `run --out DIR` made elsewhere",
            file=sys.stderr,
        )
    print_lines(console, [_document(rows)] if arguments.json else map(_line, rows))
    all_read = all(path.resolve() in indexed for path in arguments.also)
    return ExitCode.OK if all_read else ExitCode.USAGE


def _asked(index: Index, arguments: argparse.Namespace) -> list[RunRow] | list[RecordRow]:
    if globs := _globs(arguments):
        return list(index.records(*globs))
    return index.runs()


def _globs(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return globs for scenario, kernel and verdict; empty if runs are wanted, not records."""
    globs = (arguments.scenario, arguments.kernel, arguments.verdict)
    return tuple(glob or "*" for glob in globs) if any(globs) else ()


def _document(rows: Sequence[RunRow] | Sequence[RecordRow]) -> str:
    """Return the rows as JSON, a record's members named as in ``kvmprobe-run/2``."""
    listed: dict[str, list[dict[str, Any]]] = {"runs": [], "scenarios": []}
    for row in rows:
        match row:
            case RunRow():
                listed["runs"].append(asdict(row))
            case RecordRow():
                data = asdict(row)
                named = {"id": data.pop("scenario"), "known": data.pop("known")}
                listed["scenarios"].append(named | data)
    return json.dumps({"schema": SCHEMA, **listed}, indent=1)


def _line(row: RunRow | RecordRow) -> str:
    match row:
        case RunRow():
            where = _where(row) if row.kernel else "nothing ran"
            cut = "" if row.complete else f", cut short, {row.not_completed} not completed"
            return f"{row.began}  {where}: {_counts(row)}{cut}\n  {row.path}"
        case RecordRow():
            known = f": {' '.join(row.known)}" if row.known else ""
            return f"{row.scenario}  {_where(row)}  {row.began}  {row.verdict}{known}"


def _where(row: RunRow | RecordRow) -> str:
    return f"{' '.join(filter(None, (row.kernel, row.variant)))} ({row.target})"


def _counts(row: RunRow) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in row.counts.items()) or "no record"
