"""The grammar of the commands that take one scenario: ``repro`` and ``replay``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.choices import Where
from kvmprobe.cli.grammar.host import add_host_checks
from kvmprobe.cli.grammar.shared import add_device, add_kernel, add_sources
from kvmprobe.cli.scenario import SCENARIO_HELP

if TYPE_CHECKING:
    import argparse


def add_repro(repro: argparse.ArgumentParser) -> None:
    """Take what ``kvmprobe repro`` does."""
    repro.add_argument("scenario", metavar="SCENARIO", help=SCENARIO_HELP)
    repro.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the program there, - for standard output (default: named for the scenario)",
    )
    repro.add_argument(
        "--target",
        type=Where.parse,
        choices=[Where.HOST, Where.LAB],
        default=Where.LAB,
        help="write it for this host's CPU and KVM, or for a Sapphire Rapids, which the emulated "
        "host is (default: %(default)s)",
    )
    repro.add_argument(
        "--verify",
        action="store_true",
        help="compile it and run it there; exit status 1 unless it reproduces",
    )
    repro.add_argument(
        "--kernel",
        action="append",
        default=[],
        metavar="SPEC",
        help="verify it on the emulated host with that kernel, as `run --kernel` takes it; "
        "several may be given",
    )
    repro.add_argument(
        "--not-on",
        action="append",
        default=[],
        metavar="SPEC",
        help="verify that it does not reproduce with that kernel; several may be given",
    )
    repro.add_argument(
        "--hazardous",
        action="store_true",
        help="have it go on to a load that can PANIC its host",
    )
    add_device(repro)
    add_sources(repro)


def add_replay(replay: argparse.ArgumentParser) -> None:
    """Take what ``kvmprobe replay`` does."""
    replay.add_argument(
        "file", type=Path, metavar="FILE", help="a scenario, as `explain --json` writes it"
    )
    replay.add_argument(
        "--target",
        type=Where.parse,
        choices=list(Where),
        default=Where.AUTO,
        help="this host, the emulated host, or the host if it can run it (default: %(default)s)",
    )
    replay.add_argument("--json", type=Path, metavar="FILE", help="write the record to FILE")
    replay.add_argument(
        "--hazardous", action="store_true", help="on this host too, go on to what can PANIC it"
    )
    replay.set_defaults(all_crashes=False)  # one scenario has no others of its kind
    add_host_checks(replay)
    add_device(replay)
    add_kernel(replay)
