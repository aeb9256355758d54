"""``kvmprobe explore``: make every call in every state of the model, up to a depth."""

from __future__ import annotations

import argparse
import contextlib
import time
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.cli.attempt import first_attempt
from kvmprobe.cli.finds import unwritten
from kvmprobe.cli.fleet import extra_for
from kvmprobe.cli.grammar.choices import Where
from kvmprobe.cli.grammar.run import GIVEN
from kvmprobe.cli.grammar.shared import Number, add_emulated, add_fleet
from kvmprobe.cli.pairs import make_atlas
from kvmprobe.cli.places import emulated_host
from kvmprobe.cli.run import carry_out
from kvmprobe.cli.scenario import Document, keep
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode, LabError, RunDirectoryError, Unavailable, UsageError
from kvmprobe.execution.judging import Judging
from kvmprobe.execution.settling import Hazardous
from kvmprobe.execution.trials import Trials
from kvmprobe.execution.witness import OneKernel, still_shown
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.explored import explored_lines
from kvmprobe.results.durable import write_file
from kvmprobe.results.run_document import Ending
from kvmprobe.search.explored import EXPLORED, Find
from kvmprobe.search.graph import Builder, Part
from kvmprobe.search.shrink import Budget, Shrinker
from kvmprobe.search.signature import Explained
from kvmprobe.search.starts import READ_BACK, STARTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from kvmprobe.cli.attempt import Attempt
    from kvmprobe.explore.exploration import Exploration, Failure
    from kvmprobe.lab.place import EmulatedHost
    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario
    from kvmprobe.search.explored import Explored
    from kvmprobe.search.graph import Graph
    from kvmprobe.search.starts import Start

_MOST_DEPTH = 12
_MOST_PARTS = 1024
_SHRINK = Budget(trials=400, seconds=30.0)


def add_arguments(explore: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    explore.add_argument(
        "--start",
        choices=STARTS,
        default="vcpu",
        help="; ".join(f"{name}: {start.summary}" for name, start in STARTS.items())
        + " (default: %(default)s)",
    )
    explore.add_argument(
        "--depth",
        type=Number(int, 1, _MOST_DEPTH, "calls"),
        metavar="N",
        default=3,
        help="make up to N calls behind the start (default: %(default)s)",
    )
    explore.add_argument(
        "--ops",
        action="append",
        metavar="GLOB",
        default=[],
        help="make only calls of the ops with such names; several may be given (default: all of "
        "the start)",
    )
    explore.add_argument(
        "--pairs",
        action="store_true",
        help="make the commutation atlas instead: for each two calls on a vCPU, whether they "
        "commute, one order is refused, or the order matters silently; `diff` compares two",
    )
    explore.add_argument(
        "--minutes",
        type=Number(float, 0.05, 10_000.0, "minutes"),
        metavar="M",
        help="stop after M minutes (default: when every transition was made)",
    )
    explore.add_argument(
        "--part",
        type=_part,
        metavar="K/N",
        help="make only the K-th of N parts of the transitions, for N machines (default: all)",
    )
    explore.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep what was found in this new directory (default: one among the runs)",
    )
    add_emulated(explore)
    add_fleet(explore)
    # The finds run last, as scenarios of a run on the emulated host.
    explore.set_defaults(**GIVEN, coverage=False, json=None, target=Where.LAB)


def _part(text: str) -> Part:
    """Read ``K/N``, for argparse."""
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and len(of) <= len(str(_MOST_PARTS)):
        part = Part(int(number), int(of))
        if 1 <= part.number <= part.of <= _MOST_PARTS:
            return part
    raise argparse.ArgumentTypeError(
        f"{text!r} is not K/N, with N from 1 to {_MOST_PARTS} and K from 1 to N"
    )


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Explore; then run the shortest scenario of each failure, and keep the records.

    :raises UsageError: no call has a name that was given, or the directory cannot be created
    :raises FleetError: see :mod:`kvmprobe.fleet`
    :raises RunDirectoryError: what was found cannot be written; it has been printed
    :raises KeyboardInterrupt, LabError: ended early; what was found until then has been written
    :raises Unavailable: the emulated host lacks what the start needs
    """
    if arguments.scheduler is not None:
        with extra_for("--scheduler"):
            from kvmprobe.cli.explore_campaign import run_campaign  # noqa: PLC0415
        return run_campaign(arguments, console)
    if arguments.pairs and arguments.part:
        raise UsageError("--part is for the search without --pairs")
    start = STARTS[arguments.start]
    with progress() as status:
        place = emulated_host(arguments, status)
    with place:
        with progress() as status:
            if arguments.pairs:
                return make_atlas(arguments, partial(_calls, arguments.ops), place, console, status)
            attempt = first_attempt(arguments, (), arguments.out)
            try:
                seen = _seen(arguments, start, place, status)
            except BaseException:
                _cut_short(attempt)
                raise
        print_lines(console, explored_lines(seen.explored))
        try:
            _keep(attempt.path, seen)
        except RunDirectoryError:
            print_lines(console, [line for one in seen.finds.values() for line in unwritten(one)])
            _cut_short(attempt)
            raise
        if seen.ended is not None:
            _cut_short(attempt)
            print_lines(console, attempt.outcome_lines)
            raise seen.ended
        planned = replace(attempt, planned=tuple(seen.finds))
        return carry_out(arguments, planned, console, place, lambda _: list(seen.finds.values()))


class _Seen(NamedTuple):
    """What an exploration found.

    :ivar finds: the scenarios that show it, by id
    :ivar ended: what ended it early; the finds are reduced only so far
    """

    explored: Explored
    finds: dict[str, Scenario]
    ended: BaseException | None


def _keep(directory: Path, seen: _Seen) -> None:
    """Write what was found.

    :raises RunDirectoryError: it cannot be written
    """
    keep(directory, {name: Document(directory, one) for name, one in seen.finds.items()})
    try:
        write_file(directory / EXPLORED, seen.explored.to_json())
    except OSError as error:
        raise RunDirectoryError(f"{directory / EXPLORED}: {error.strerror}") from error


def _cut_short(attempt: Attempt) -> None:
    # On a full disk this error has been reported already.
    with contextlib.suppress(RunDirectoryError):
        attempt.ledger.finish(Ending.CUT_SHORT, (), ())
    attempt.close()


def _seen(
    arguments: argparse.Namespace, start: Start, place: EmulatedHost, status: Progress
) -> _Seen:
    trials = Trials(place, Hazardous.EVERY, status)
    if lacking := trials.lacking(start.needs):
        raise Unavailable("unmet_need", f"--start {arguments.start}: {'; '.join(lacking)}")
    graph = _graph(arguments, start, trials.host, status)
    exploration, ended = _watched(arguments, place, trials.host, graph, status)
    finds: dict[str, Scenario] = {}
    shown = []
    failures = sorted(exploration.failures.values(), key=lambda failure: failure.signature.name)
    for failure in failures:
        status.stage(f"{place.target.description}: reducing {failure.signature.name}")
        name = f"explore.{len(finds)}.{failure.signature.name}"
        smallest = failure.scenario
        if ended is None:
            try:
                smallest = _reduced(failure, trials, status)
            except (KeyboardInterrupt, LabError) as error:
                ended = error
        finds[name] = replace(smallest, id=name)
        text = str(failure.signature)
        shown.append(Find(name, text, failure.known, failure.transitions))
    explored = exploration.explored(place.target.kernel, arguments.start)
    return _Seen(replace(explored, finds=tuple(shown)), finds, ended)


def _graph(
    arguments: argparse.Namespace, start: Start, host: HostProfile, status: Progress
) -> Graph:
    builder = Builder(host, start.ops, _calls(arguments.ops, start.calls(host)))
    for depth in range(arguments.depth):
        status.stage(f"model: states behind {depth + 1} of {arguments.depth} calls")
        builder.deepen(status.advance)
    return builder.graph


def _calls(globs: Iterable[str], calls: Sequence[Op]) -> Sequence[Op]:
    wanted = list(globs) or ["*"]
    for glob in wanted:
        if not any(fnmatchcase(op.name, glob) for op in calls):
            names = ", ".join(sorted({op.name for op in calls}))
            raise UsageError(f"--ops {glob}: no call has such a name; there are {names}")
    return [op for op in calls if any(fnmatchcase(op.name, glob) for glob in wanted)]


def _watched(
    arguments: argparse.Namespace,
    place: EmulatedHost,
    host: HostProfile,
    graph: Graph,
    status: Progress,
) -> tuple[Exploration, BaseException | None]:
    """Explore; return also what ended it early."""
    # The emulator is only needed here.
    from kvmprobe.explore.exploration import Exploration  # noqa: PLC0415
    from kvmprobe.explore.visits import Explorer  # noqa: PLC0415

    status.stage(f"{place.target.description}: transitions")
    part = arguments.part or Part()
    exploration = Exploration(graph, part, Judging(host, place.target), status)
    minutes = arguments.minutes
    deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
    try:
        with contextlib.closing(Explorer(place, host, graph, part, READ_BACK).visits()) as visits:
            exploration.watch(visits, deadline)
    except (KeyboardInterrupt, LabError) as error:
        return exploration, error
    return exploration, None


def _reduced(failure: Failure, trials: Trials, status: Progress) -> Scenario:
    """Return the scenario with as few calls as show the failure."""
    witness = OneKernel(trials, Explained.BY_NOTHING)
    stays = partial(still_shown, witness, failure.signature)
    if not stays([failure.scenario])[0]:
        return failure.scenario
    return Shrinker(failure.scenario, trials.host, stays, budget=_SHRINK, progress=status).run()
