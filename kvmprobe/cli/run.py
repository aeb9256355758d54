"""``kvmprobe run``: run scenarios on this host or the emulated one; keep and show the records."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kvmprobe.cli import terminal
from kvmprobe.cli.attempt import Attempt, first_attempt
from kvmprobe.cli.derived import by_coverage, expanded, listing
from kvmprobe.cli.exit_style import outcome
from kvmprobe.cli.fit_host import notice
from kvmprobe.cli.grammar.choices import Where
from kvmprobe.cli.grammar.host import arming_of
from kvmprobe.cli.grammar.run import add_arguments
from kvmprobe.cli.orders import keep, planned, read_orders
from kvmprobe.cli.orders import listing as of_orders
from kvmprobe.cli.pinned import pinned_by, pinned_outcome
from kvmprobe.cli.places import emulated_host, is_emulated, refuse_kernel_of_host
from kvmprobe.cli.select import all_ids, in_catalog_order, wanted
from kvmprobe.cli.session import Session
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import (
    ExitCode,
    FleetError,
    HostStuck,
    LabError,
    OutputLost,
    ReportFileError,
    RunDirectoryError,
    RunTimeout,
    Unavailable,
    UsageError,
)
from kvmprobe.host.arming import armed
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.live import Live
from kvmprobe.reports.remaining import remaining_lines
from kvmprobe.results.run_document import Ending

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console

    from kvmprobe.cli.session import Listed
    from kvmprobe.lab.place import EmulatedHost
    from kvmprobe.results.record import ScenarioRecord

__all__ = ["add_arguments", "carry_out", "check_campaign", "run"]

_ENDINGS = (
    KeyboardInterrupt,
    RunTimeout,
    HostStuck,
    LabError,
    Unavailable,
    FleetError,
    RunDirectoryError,
    OutputLost,
    ReportFileError,
)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Run the selected scenarios."""
    _check(arguments)
    orders = read_orders(arguments.order)
    chosen = wanted(arguments.select, arguments.exclude)
    emulated = None
    if is_emulated(arguments) and arguments.scheduler is None:
        # Before there is a run: without that kernel there is nothing to keep and nothing to resume.
        with progress() as status:
            emulated = emulated_host(arguments, status)
    if orders:
        attempt = first_attempt(arguments, planned(orders), arguments.out)
        keep(arguments.order, attempt.path)
        return carry_out(arguments, attempt, console, emulated, of_orders(orders, attempt.path))
    chosen_ids = expanded(filter(chosen, all_ids()), arguments.observe, arguments.relation)
    attempt = first_attempt(arguments, chosen_ids, arguments.out)
    return carry_out(arguments, attempt, console, emulated)


def carry_out(
    arguments: argparse.Namespace,
    attempt: Attempt,
    console: Console,
    emulated: EmulatedHost | None = None,
    listed: Listed | None = None,
) -> ExitCode:
    """Run the planned scenarios that have no record.

    :param arguments: of the first attempt
    :param emulated: the emulated host, if it has been prepared
    :param listed: returns the scenarios for a host; by default those of the catalogue and what
        is planned of those derived from them
    """
    listed = listed or listing(attempt.planned)
    if arguments.budget:
        listed = by_coverage(listed)
    live = Live(console, arguments.printing)
    session = Session(arguments, attempt, live, emulated, listed)
    ended: BaseException | None = None
    try:
        with armed(arming_of(arguments), notice), progress() as status:
            live.tally = status.tally
            for record in attempt.blamed:
                session.take(record)
            if session.not_completed:
                session.run(set(session.not_completed).__contains__, status)
    except RunTimeout as error:
        if session.timed_out:
            ended = error
        else:
            session.notes.append(f"{arguments.budget:g} minutes are up")
    except _ENDINGS as error:
        ended = error
    complete = ended is None and not session.not_completed
    session.close(Ending.COMPLETE if complete else Ending.CUT_SHORT)
    live.finish(in_catalog_order(session.records), time.monotonic() - session.started)
    print_lines(console, [*session.notes, *attempt.outcome_lines])
    attempt.close()
    if not complete:
        for line in remaining_lines(session.not_completed, attempt.resume_command):
            terminal.print_line(line)
    if ended is not None:
        raise ended
    return _status(arguments, session.records)


def _status(arguments: argparse.Namespace, records: Sequence[ScenarioRecord]) -> ExitCode:
    if arguments.pin:
        return pinned_outcome(records, pinned_by(arguments.pin))
    return outcome({record.verdict for record in records})


def _check(arguments: argparse.Namespace) -> None:
    if arguments.order and (arguments.select or arguments.exclude or arguments.relation):
        raise UsageError("--order runs its own scenarios; leave out --select and --relation")
    refuse_kernel_of_host(arguments)
    if arguments.target == Where.HOST and arguments.all_crashes and not arguments.hazardous:
        raise UsageError("--all-crashes on this host needs --hazardous")
    if arguments.modules and not arguments.kernel:
        raise UsageError("--modules: only for a bzImage, which --kernel gives")
    arming_of(arguments)
    if arguments.scheduler is not None:
        check_campaign(arguments)
    if arguments.pin:
        pinned_by(arguments.pin)


def check_campaign(arguments: argparse.Namespace) -> None:
    """Refuse what is for one machine, or has to be seen whole.

    :raises UsageError: it is given
    """
    for option in ("arm", "budget", "coverage", "order"):
        if getattr(arguments, option, None):
            name = "minutes" if option == "budget" else option
            raise UsageError(f"--{name} is for a run on one machine; leave out --scheduler")
