"""``kvmprobe fuzz``: random sequences of calls, judged as scenarios are; what fails is reduced."""

from __future__ import annotations

import argparse
import contextlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.attempt import first_attempt
from kvmprobe.cli.corpus import read_corpus, write_corpus
from kvmprobe.cli.fit_host import check_host, notice
from kvmprobe.cli.fleet import extra_for
from kvmprobe.cli.fuzz_session import Limits, Session
from kvmprobe.cli.grammar.epilogs import FUZZING, SAFETY, end_with
from kvmprobe.cli.grammar.host import add_host_checks, add_target, arming_of
from kvmprobe.cli.grammar.shared import (
    Number,
    add_coverage,
    add_device,
    add_emulated,
    add_fleet,
    seconds,
)
from kvmprobe.cli.places import emulated_host, is_emulated, refuse_kernel_of_host, watched
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode, RunDirectoryError
from kvmprobe.execution.place import ThisHost
from kvmprobe.host.arming import armed
from kvmprobe.reports.console import print_lines
from kvmprobe.results.run_document import Ending

if TYPE_CHECKING:
    from rich.console import Console

    from kvmprobe.lab.place import EmulatedHost
    from kvmprobe.progress import Progress

_MOST_MINUTES = 30 * 24 * 60


def add_arguments(fuzz: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    end_with(fuzz, FUZZING, SAFETY)
    fuzz.add_argument(
        "--seed",
        type=Number(int, 0, 2**32 - 1, "a seed"),
        metavar="N",
        help="the same seed makes the same sequences, if the kernel is the same and, with "
        "--coverage, reaches the same blocks (default: a new one, which is printed)",
    )
    fuzz.add_argument(
        "--minutes",
        type=Number(float, 0.01, _MOST_MINUTES, "minutes"),
        metavar="M",
        default=5.0,
        help="search so long; the reduction of what was found comes on top (default: %(default)g)",
    )
    fuzz.add_argument(
        "--reduce-seconds",
        type=seconds,
        metavar="SECONDS",
        default=60.0,
        help="reduce each find for at most so long (default: %(default)g)",
    )
    fuzz.add_argument(
        "--from-scratch",
        action="store_true",
        help="use nothing that is known: no values of the catalogue, and no known defect explains "
        "a failure.  Shows what the search finds by itself",
    )
    fuzz.add_argument(
        "--unguided",
        action="store_true",
        help="make every sequence anew, and vary none that reached something new: shows what "
        "guidance adds",
    )
    fuzz.add_argument(
        "--against",
        metavar="SPEC",
        help="run the same sequences also on the emulated host with that kernel, as for --kernel: "
        "each difference between the two that no behaviour of either host, known defect or fact "
        "explains is a find.  Only the first kernel is judged by itself",
    )
    fuzz.add_argument(
        "--corpus",
        type=Path,
        metavar="DIR",
        help="begin with the sequences in this directory, and keep there what reached something "
        "new; with --coverage, files of a search that others have made superfluous are removed",
    )
    fuzz.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help="keep the finds in this new directory, which is that of a run (default: a new one in "
        "$XDG_STATE_HOME/kvmprobe/runs)",
    )
    add_target(fuzz)
    add_device(fuzz)
    add_emulated(fuzz)
    add_coverage(fuzz)
    add_host_checks(fuzz)
    add_fleet(fuzz)
    fuzz.set_defaults(all_crashes=False, arm=None)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Search, and write what was found.

    :raises UsageError: the arguments contradict each other, or a file of the corpus is wrong
    :raises Unavailable, LabError: nothing can run there
    """
    refuse_kernel_of_host(arguments)
    if arguments.seed is None:
        arguments.seed = int.from_bytes(os.urandom(4), "little")
    if arguments.scheduler is not None:
        with extra_for("--scheduler"):
            from kvmprobe.cli.fuzz_campaign import run_campaign  # noqa: PLC0415
        return run_campaign(arguments, console)
    corpus = read_corpus(arguments.corpus) if arguments.corpus else []
    limits = Limits(arguments.minutes * 60, arguments.reduce_seconds)
    with progress() as status:
        emulated = emulated_host(arguments, status) if is_emulated(arguments) else None
        against = _against(arguments, status)
        notes = [] if emulated else check_host(arguments)
        attempt = first_attempt(arguments, (), arguments.out)
        session = Session(arguments, attempt, limits, partial(print_lines, console), status)
        ended: BaseException | None = None
        try:
            with (
                armed(arming_of(arguments), notice),
                _opened(
                    watched(emulated, arguments, attempt.ledger, session.notes, status)
                    if emulated
                    else None
                ) as place,
                _opened(against) as other,
            ):
                session.run(place or ThisHost(arguments.device), corpus, other)
        except BaseException as error:
            ended = error
        notes += session.notes
        ending = Ending.CUT_SHORT if ended else Ending.COMPLETE
        # On a full disk this error has been reported already.
        with contextlib.suppress(RunDirectoryError):
            attempt.ledger.finish(ending, (), notes)
        attempt.close()
    try:
        grown = _grown(arguments.corpus, session)
    except RunDirectoryError as error:
        ended, grown = ended or error, [str(error)]
    print_lines(console, [*session.summary, *notes, *grown, *attempt.outcome_lines])
    if ended is not None:
        raise ended
    if not session.sequences:
        return ExitCode.NOTHING_RAN
    return ExitCode.DIVERGED if session.finds else ExitCode.OK


def _grown(corpus: Path | None, session: Session) -> list[str]:
    """Add to the corpus what reached something new; return a line about it.

    :raises RunDirectoryError: it cannot be written; what it had is still there
    """
    if corpus is None:
        return []
    added, gone = write_corpus(corpus, session.corpus, session.superfluous)
    return [f"{corpus}: {added} sequences added, {gone} removed"]


def _against(arguments: argparse.Namespace, status: Progress) -> EmulatedHost | None:
    if not arguments.against:
        return None
    words = {**vars(arguments), "kernel": arguments.against, "modules": None}
    return emulated_host(argparse.Namespace(**words), status)


def _opened(
    place: EmulatedHost | None,
) -> contextlib.AbstractContextManager[EmulatedHost | None]:
    return place or contextlib.nullcontext()
