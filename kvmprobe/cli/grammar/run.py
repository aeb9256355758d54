"""The grammar of ``kvmprobe run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmprobe.cli.grammar.choices import Observe, OfKnown, Related
from kvmprobe.cli.grammar.epilogs import (
    BISECTING,
    DERIVED,
    EXIT_STYLES,
    PRINTING,
    SAFETY,
    VERDICTS,
    end_with,
    formats,
)
from kvmprobe.cli.grammar.host import add_arm, add_host_checks, add_target
from kvmprobe.cli.grammar.orders import ORDERS
from kvmprobe.cli.grammar.printing import add_printing
from kvmprobe.cli.grammar.selection import SELECTION_HELP, add_selection
from kvmprobe.cli.grammar.shared import (
    RUN_TIME,
    Number,
    add_coverage,
    add_device,
    add_emulated,
    add_exit_style,
    add_fleet,
    seconds,
)
from kvmprobe.cli.live_reports import ReportFile
from kvmprobe.reports.formats import names
from kvmprobe.reports.printing import Printing
from kvmprobe.scenarios.relations import RELATIONS

if TYPE_CHECKING:
    import argparse
    from argparse import _ActionsContainer
    from collections.abc import Mapping

_MOST_MINUTES = 30 * 24 * 60.0
GIVEN: Mapping[str, Any] = {
    # Each was named, or found by a search, so each may crash.
    "all_crashes": True,
    "arm": None,
    "budget": None,
    "known": OfKnown.FAIL,
    "order": (),
    "pin": None,
    "printing": Printing(),
    "report": (),
    "scheduler": None,
    "scenario_timeout": None,
    "step_timeout": None,
    "timeout": None,
}
"""Values of `run`'s options for a command that runs given scenarios and has no such options."""


def add_arguments(run: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    end_with(
        run,
        SELECTION_HELP,
        ORDERS,
        DERIVED,
        VERDICTS,
        SAFETY,
        PRINTING,
        formats(),
        EXIT_STYLES,
        BISECTING,
    )
    _add_where(run.add_argument_group("where"))
    _add_what(run.add_argument_group("what"))
    _add_judging(run.add_argument_group("judging"))
    _add_output(run.add_argument_group("output"))
    _add_safety(run.add_argument_group("safety"))


def add_derived(command: _ActionsContainer) -> None:
    """Declare which derived scenarios run."""
    command.add_argument(
        "--observe",
        choices=[when.value for when in Observe],
        default=Observe.BOTH,
        help="when state is read: after each step; at the end, in scenarios whose ids end with "
        ".blind; not at all (.unread); or each scenario as it is and, to be compared with it, "
        "also blind: all of them (`both`), or one of eight (`sample`) (default: %(default)s)",
    )
    command.add_argument(
        "--relation",
        action="append",
        default=[],
        choices=[*(relation.name for relation in RELATIONS), *(which.value for which in Related)],
        help="run scenarios that are derived from the selected ones, and must come out as they do; "
        "several may be given (default: none)",
    )


def _add_where(where: argparse._ArgumentGroup) -> None:
    add_target(where)
    add_device(where)
    add_emulated(where)
    add_coverage(where)
    add_fleet(where)


def _add_what(what: argparse._ArgumentGroup) -> None:
    add_selection(what)
    what.add_argument(
        "--order",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="run the restore order in FILE instead of the catalogue, with each state that it "
        "names; several may be given",
    )
    add_derived(what)
    what.add_argument(
        "--minutes",
        dest="budget",
        type=Number(float, 0.05, _MOST_MINUTES, "minutes"),
        metavar="M",
        help="run for M minutes, in the order in which scenarios add coverage of the kernel: the "
        "first minute has the most; `resume` goes on for another M (default: all, in the order of "
        "the catalogue)",
    )


def _add_judging(judging: argparse._ArgumentGroup) -> None:
    judging.add_argument(
        "--known",
        choices=[of.value for of in OfKnown],
        default=OfKnown.FAIL,
        help="whether a failure that known defects explain counts as a failure or as expected: "
        "XFAIL, or XPASS if a defect of this kernel did not show (default: %(default)s)",
    )
    judging.add_argument(
        "--pin",
        type=Path,
        metavar="RUN",
        help="only failures as in that run, by known defects or else by signature, count for the "
        "exit status; with others alone it is that of a kernel that cannot be tested",
    )
    add_exit_style(judging, "convention of the exit status (default: as in `kvmprobe --help`)")


def _add_output(output: argparse._ArgumentGroup) -> None:
    add_printing(output)
    output.add_argument(
        "--timestamps", action="store_true", help="start each printed line with the time"
    )
    output.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep the run in this new directory, for `resume` and `report` (default: a new one in "
        "$XDG_STATE_HOME/kvmprobe/runs)",
    )
    output.add_argument(
        "--json", type=Path, metavar="FILE", help="write all records to one document"
    )
    output.add_argument(
        "--report",
        action="append",
        default=[],
        type=ReportFile.parse,
        metavar="FORMAT=FILE",
        help=f"write a report during the run; several may be given; FORMAT: {', '.join(names())}",
    )


def _add_safety(safety: argparse._ArgumentGroup) -> None:
    safety.add_argument(
        "--timeout", type=RUN_TIME, metavar="SECONDS", help="end the run after that time"
    )
    safety.add_argument(
        "--scenario-timeout",
        type=seconds,
        metavar="SECONDS",
        help="deadline of one scenario, after which the stacks of its tasks are recorded and it is "
        "killed (default: 10 s; on the emulated host 3 s of its clock, which is ten times slower)",
    )
    safety.add_argument(
        "--step-timeout",
        type=seconds,
        metavar="SECONDS",
        help="deadline of each step of a scenario (default: that of the scenario)",
    )
    safety.add_argument(
        "--all-crashes",
        action="store_true",
        help="on this host, let every hazardous scenario crash, not only the first of each kind; "
        "on the emulated host all of them do",
    )
    add_host_checks(safety)
    add_arm(safety)
