"""``kvmprobe report``: runs that are over, in a format that programs read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kvmprobe.cli.exit_style import outcome
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.reports.formats import Format, rendered
from kvmprobe.results.run_document import Ending, RunDocument, read_run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console


def run(arguments: argparse.Namespace, _console: Console) -> ExitCode:
    """Write the report; the status is about that, unless an exit style asks for the runs' own."""
    runs = [read_run(path) for path in arguments.runs]
    text = rendered(Format(arguments.format), runs)
    _write(arguments.output, text.encode("utf-8", "backslashreplace"))
    for path, told in zip(arguments.runs, runs, strict=True):
        if told.ending is Ending.CUT_SHORT:
            print(f"kvmprobe: {path}: the run was cut short", file=sys.stderr)
    return ExitCode.OK if arguments.exit_style is None else _of_runs(runs)


def _of_runs(runs: Sequence[RunDocument]) -> ExitCode:
    """Return what the runs come to; one that was cut short and shows no failure tells nothing."""
    code = outcome({record.verdict for told in runs for record in told.records})
    cut_short = any(told.ending is Ending.CUT_SHORT for told in runs)
    return ExitCode.NOTHING_RAN if code is ExitCode.OK and cut_short else code


def _write(path: Path | None, content: bytes) -> None:
    if path is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"--output {path}: {error.strerror}") from error
