"""``kvmprobe report``: finished runs as a page for people or in a format for programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.exit_style import outcome
from kvmprobe.cli.grammar.epilogs import EXIT_STYLES, SEARCHES, end_with, formats
from kvmprobe.cli.grammar.shared import RUN_HELP, add_exit_style
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.reports.formats import format_of, names
from kvmprobe.results.lines_schema import lines_schema
from kvmprobe.results.matrix import runs_in
from kvmprobe.results.run_document import Ending, RunDocument, read_run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console

PAGE = Path("report.html")
STANDARD_OUTPUT = Path("-")
_HTML = "html"


def add_arguments(report: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    report.add_argument(
        "runs", type=Path, nargs="*", metavar="RUN", help=f"{RUN_HELP}; of a matrix, all runs"
    )
    report.add_argument(
        "--format",
        choices=names(),
        default=_HTML,
        help="format of the report (default: %(default)s)",
    )
    report.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"output file; `-` is standard output (default: {PAGE} for html, unless it exists;"
        " standard output for the others)",
    )
    report.add_argument(
        "--schema",
        action="store_true",
        help="print the JSON Schema of jsonl instead; its $defs/scenario is a record of the "
        "document that `run --json` writes",
    )
    add_exit_style(report, "exit with the status of the runs, in this convention")
    end_with(report, formats(), SEARCHES, EXIT_STYLES)


def run(arguments: argparse.Namespace, _console: Console) -> ExitCode:
    """Write the report; the status is that of the runs only with an exit style.

    :raises UsageError: no run is named, a run cannot be read, or the output cannot be written
    """
    if arguments.schema:
        print(json.dumps(lines_schema(), indent=1))
        return ExitCode.OK
    if not arguments.runs:
        raise UsageError("report: name a RUN; `kvmprobe runs` lists those that are kept")
    paths = [path for named in arguments.runs for path in runs_in(named)]
    runs = [read_run(path) for path in paths]
    wanted = arguments.format
    output = arguments.output
    if output is None and wanted != _HTML:
        output = STANDARD_OUTPUT
    text = format_of(wanted).render(runs)
    _write(output, text.encode("utf-8", "backslashreplace"))
    for path, document in zip(paths, runs, strict=True):
        if document.ending is Ending.CUT_SHORT:
            print(f"kvmprobe: {path}: the run was cut short", file=sys.stderr)
    return ExitCode.OK if arguments.exit_style is None else _of_runs(runs)


def _of_runs(runs: Sequence[RunDocument]) -> ExitCode:
    """Return the status of the runs; without a failure, one that was cut short is inconclusive."""
    code = outcome({record.verdict for document in runs for record in document.records})
    cut_short = any(document.ending is Ending.CUT_SHORT for document in runs)
    return ExitCode.NOTHING_RAN if code is ExitCode.OK and cut_short else code


def _write(path: Path | None, content: bytes) -> None:
    if path == STANDARD_OUTPUT:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        with PAGE.open("xb") if path is None else path.open("wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise UsageError(f"{PAGE} exists; name another file with --output") from error
    except OSError as error:
        raise UsageError(f"--output {path or PAGE}: {error.strerror}") from error
    if path is None:
        print(f"kvmprobe: written to {PAGE}", file=sys.stderr)
