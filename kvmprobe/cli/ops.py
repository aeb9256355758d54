"""``kvmprobe ops``: the ops that scenarios are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.errors import ExitCode
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.ops import op_lines, schema_lines

if TYPE_CHECKING:
    import argparse

    from rich.console import Console


def add_arguments(ops: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    ops.add_argument(
        "--schema",
        action="store_true",
        help="print the JSON Schema of scenario documents instead, for editors",
    )


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Print each op's kernel call, errnos and sources; or the schema of documents."""
    print_lines(console, schema_lines() if arguments.schema else op_lines())
    return ExitCode.OK
