"""``kvmprobe fuzz --scheduler``: a search on each worker of a fleet, each with its own seed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from kvmprobe.cli.campaign import OF_HOST, OF_LAB, facts
from kvmprobe.cli.finds import FINDS
from kvmprobe.cli.grammar.choices import Where
from kvmprobe.cli.kernel_runs import new_directory, words_of
from kvmprobe.cli.places import is_emulated
from kvmprobe.cli.received import write_received
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.fleet.cluster import connected, members
from kvmprobe.fleet.placement import Placement, Resource
from kvmprobe.fleet.searches import Search, Searches
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.excerpt import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from kvmprobe.fleet.cluster import Member
    from kvmprobe.fleet.parcel import Parcel

_OF_EVERY = ("minutes", "reduce_seconds", "from_scratch", "unguided", "against")
_MOST_SEED = 2**32


class FuzzCampaign:
    """The searches, and what they found.

    :ivar finds: the directories of finds, by what they have in common
    """

    def __init__(self, arguments: argparse.Namespace, path: Path) -> None:
        self.finds: defaultdict[str, list[str]] = defaultdict(list)
        self._arguments = arguments
        self._path = path
        self._notes: list[str] = []
        self._ran: list[str] = []

    def run(self, console: Console) -> ExitCode:
        """Run them; print what they did.

        :raises UsageError, FleetError: see :mod:`kvmprobe.fleet`
        :raises KeyboardInterrupt: interrupted; what had been found until then is kept
        """
        arguments = self._arguments
        try:
            with (
                connected(arguments.scheduler, arguments.tls) as client,
                progress() as status,
            ):
                status.stage(f"searches on {arguments.scheduler or 'this machine'}")
                placement = self._placement(members(client))
                searches = Searches(client, placement, self._take, self._notes.append, status)
                able = searches.workers(arguments.patience)
                searches.run(self._searches(placement, len(able)), arguments.patience)
        finally:
            print_lines(console, [*self._ran, *self._notes, *self._found()])
        if not self._ran:
            return ExitCode.NOTHING_RAN
        return ExitCode.DIVERGED if self.finds else ExitCode.OK

    def _placement(self, present: Sequence[Member]) -> Placement:
        """Return where searches run: if there is a choice, on the machines' own kernels."""
        arguments = self._arguments
        offered = frozenset[str]().union(*(member.resources for member in present))
        emulated = is_emulated(arguments)
        own = not emulated and (arguments.target == Where.HOST or Resource.KVM in offered)
        where, options = (Where.HOST, OF_HOST) if own else (Where.LAB, (*OF_LAB, "coverage"))
        needed = {Resource.KVM} if own else {Resource.LAB}
        if arguments.against:
            needed.add(Resource.LAB)
        words = words_of(arguments, (*_OF_EVERY, *options))
        return Placement(("fuzz", f"--target={where.value}", *words), frozenset(needed))

    def _searches(self, placement: Placement, count: int) -> Sequence[Search]:
        seeds = [(self._arguments.seed + number) % _MOST_SEED for number in range(count)]
        return [Search(f"seed-{seed}", (*placement.words, f"--seed={seed}")) for seed in seeds]

    def _take(self, search: Search, parcel: Parcel) -> None:
        history = parcel.history
        if history is None:
            return
        facts_of = {name: facts(parcel.payload(name)) for name in history.facts.values()}
        write_received(self._path / search.name, parcel, facts_of)
        names = sorted({name.split("/")[1] for name in parcel.files if name.startswith(FINDS)})
        for name in names:
            text = parcel.files.get(f"{FINDS}/{name}/find.txt", "")
            self.finds[printable(text.partition("\n")[0])].append(f"{search.name}/{FINDS}/{name}")
        last = [growth.points[-1] for growth in history.growth.values() if growth.points]
        sequences = sum(point.sequences for point in last)
        self._ran.append(
            f"{search.name} on {printable(parcel.ending.worker)}: {sequences} sequences in "
            f"{max((point.seconds for point in last), default=0):.0f} s, {len(names)} finds"
        )

    def _found(self) -> list[str]:
        lines = [f"{len(self.finds)} kinds of failure"] if self._ran else []
        for signature, folders in sorted(self.finds.items()):
            lines += [f"  {signature}", *(f"    {folder}" for folder in folders)]
        return [*lines, f"recorded in {self._path}"] if self._ran else lines


def run_campaign(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Search on a fleet.

    :raises UsageError: an option is for a search on one machine
    :raises FleetError: see :mod:`kvmprobe.fleet`
    """
    if arguments.corpus:
        raise UsageError("--corpus is for a search on one machine; leave out --scheduler")
    return FuzzCampaign(arguments, new_directory(arguments.out, "fuzz")).run(console)
