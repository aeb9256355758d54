"""``kvmprobe ops``: the ops that scenarios are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.errors import ExitCode
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.ops import op_lines

if TYPE_CHECKING:
    import argparse

    from rich.console import Console


def add_arguments(_ops: argparse.ArgumentParser) -> None:
    """Declare no arguments."""


def run(_arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Print each op's kernel call, errnos and sources."""
    print_lines(console, op_lines())
    return ExitCode.OK
