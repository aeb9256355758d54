"""``kvmprobe man``: print the source of the manual page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.parser import parser
from kvmprobe.cli.man_page import man_page
from kvmprobe.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from rich.console import Console


def add_arguments(_man: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""


def run(_arguments: argparse.Namespace, _console: Console) -> ExitCode:
    """Print it."""
    print(man_page(parser()), end="")
    return ExitCode.OK
