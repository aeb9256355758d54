"""The grammar of ``kvmprobe run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.choices import OfKnown, Where
from kvmprobe.cli.grammar.epilogs import (
    EXIT_STYLES,
    FORMATS,
    PRINTING,
    SAFETY,
    VERDICTS,
    end_with,
)
from kvmprobe.cli.grammar.host import add_arm, add_host_checks
from kvmprobe.cli.grammar.printing import add_printing
from kvmprobe.cli.grammar.selection import SELECTION_HELP, add_selection
from kvmprobe.cli.grammar.shared import RUN_TIME, add_device, add_exit_style, add_kernel, seconds
from kvmprobe.cli.live_reports import ReportFile
from kvmprobe.reports.formats import Format

if TYPE_CHECKING:
    import argparse


def add_arguments(run: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    end_with(run, SELECTION_HELP, VERDICTS, SAFETY, PRINTING, FORMATS, EXIT_STYLES)
    _add_where(run.add_argument_group("where"))
    add_selection(run.add_argument_group("what"))
    _add_judging(run.add_argument_group("judging"))
    _add_output(run.add_argument_group("output"))
    _add_safety(run.add_argument_group("safety"))


def _add_where(where: argparse._ArgumentGroup) -> None:
    where.add_argument(
        "--target",
        type=Where.parse,
        choices=list(Where),
        default=Where.AUTO,
        help="this host, the emulated host, or what fits: the host, and the emulated one for what "
        "the host's KVM cannot do (default: %(default)s)",
    )
    add_device(where)
    add_kernel(where)


def _add_judging(judging: argparse._ArgumentGroup) -> None:
    judging.add_argument(
        "--known",
        type=OfKnown.parse,
        choices=list(OfKnown),
        default=OfKnown.FAIL,
        help="what known defects explain is a failure, or expected: XFAIL, and XPASS where one "
        "should have shown and did not (default: %(default)s)",
    )
    add_exit_style(
        judging, "the exit status as others count it (default: as `kvmprobe --help` lists it)"
    )


def _add_output(output: argparse._ArgumentGroup) -> None:
    add_printing(output)
    output.add_argument(
        "--timestamps", action="store_true", help="begin each printed line with the time"
    )
    output.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep the run in this new directory, for `resume` and `report` (default: one under "
        "$XDG_STATE_HOME/kvmprobe/runs)",
    )
    output.add_argument("--json", type=Path, metavar="FILE", help="write every record to FILE")
    output.add_argument(
        "--report",
        action="append",
        default=[],
        type=ReportFile.parse,
        metavar="FORMAT=FILE",
        help="write a report while the run goes on; several may be given; "
        f"FORMAT: {', '.join(f.value for f in Format)}",
    )


def _add_safety(safety: argparse._ArgumentGroup) -> None:
    safety.add_argument(
        "--timeout", type=RUN_TIME, metavar="SECONDS", help="end the whole run after that"
    )
    safety.add_argument(
        "--scenario-timeout",
        type=seconds,
        metavar="SECONDS",
        help="what one scenario may take (default: 10 s here; on the emulated host 3 s by its own "
        "clock, ten times slower); then its tasks' stacks are recorded, and it is killed",
    )
    safety.add_argument(
        "--step-timeout",
        type=seconds,
        metavar="SECONDS",
        help="the same of one step of a scenario (default: what its scenario may take)",
    )
    safety.add_argument(
        "--hazardous",
        action="store_true",
        help="on this host too, go on where the next step can PANIC it",
    )
    safety.add_argument(
        "--all-crashes",
        action="store_true",
        help="let every hazardous scenario crash, not only the first of each kind",
    )
    add_host_checks(safety)
    add_arm(safety)
