"""``kvmprobe diff``: what changed between two runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.shared import RUN_HELP
from kvmprobe.errors import ExitCode
from kvmprobe.reports.atlas import changed_lines
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.diff import diff_lines, diff_markdown
from kvmprobe.results.comparison import compare
from kvmprobe.results.run_document import Ending, read_run
from kvmprobe.search.atlas import FILE, Atlas

if TYPE_CHECKING:
    import argparse

    from rich.console import Console


def add_arguments(diff: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    diff.add_argument("before", type=Path, metavar="BEFORE", help=RUN_HELP)
    diff.add_argument("after", type=Path, metavar="AFTER", help=RUN_HELP)
    diff.add_argument("--markdown", action="store_true", help="print Markdown, for a merge request")


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Compare two runs; the status says whether the later one is worse."""
    if (arguments.before / FILE).exists():
        atlases = Atlas.read(arguments.before), Atlas.read(arguments.after)
        changed = list(changed_lines(*atlases))
        print_lines(console, changed or ["no pair's order does anything else"])
        return ExitCode.DIVERGED if changed else ExitCode.OK
    before, after = read_run(arguments.before), read_run(arguments.after)
    compared = compare(before, after)
    print_lines(console, diff_markdown(compared) if arguments.markdown else diff_lines(compared))
    if after.ending is Ending.CUT_SHORT:
        print(
            f"kvmprobe: {arguments.after}: the run was cut short; missing records are not compared",
            file=sys.stderr,
        )
    return ExitCode.DIVERGED if compared.regressed else ExitCode.OK
