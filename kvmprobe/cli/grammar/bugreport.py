"""The grammar of ``kvmprobe bugreport``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.choices import Where
from kvmprobe.cli.scenario import SCENARIO_HELP

if TYPE_CHECKING:
    import argparse


def add_bugreport(bugreport: argparse.ArgumentParser) -> None:
    """Take what ``kvmprobe bugreport`` does."""
    bugreport.add_argument(
        "run", type=Path, metavar="RUN", help="a run's directory, or what `run --json` wrote"
    )
    bugreport.add_argument("scenario", metavar="SCENARIO", help=SCENARIO_HELP)
    bugreport.add_argument(
        "--also",
        action="append",
        default=[],
        type=Path,
        metavar="RUN",
        help="a run on another kernel, which is affected or not; several may be given",
    )
    bugreport.add_argument(
        "--output", type=Path, metavar="FILE", help="write it there, not to standard output"
    )
    bugreport.add_argument(
        "--reproducer",
        type=Path,
        metavar="FILE",
        help="write the C program there instead of into the mail",
    )
    bugreport.add_argument(
        "--target",
        type=Where.parse,
        choices=[Where.HOST, Where.LAB],
        help="where it failed, if the run has both",
    )
