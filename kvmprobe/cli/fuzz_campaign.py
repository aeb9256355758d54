"""``kvmprobe fuzz --scheduler``: a search on each worker of a fleet, each with its own seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.cli.campaign import OF_HOST, OF_LAB
from kvmprobe.cli.finds import FINDS
from kvmprobe.cli.grammar.choices import Where
from kvmprobe.cli.kernel_runs import new_directory, words_of
from kvmprobe.cli.places import is_emulated
from kvmprobe.cli.search_campaign import SearchCampaign
from kvmprobe.errors import UsageError
from kvmprobe.fleet.placement import Placement, Resource
from kvmprobe.fleet.searches import Search
from kvmprobe.reports.excerpt import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from kvmprobe.errors import ExitCode
    from kvmprobe.fleet.cluster import Member
    from kvmprobe.fleet.parcel import Parcel

_OF_EVERY = ("minutes", "reduce_seconds", "from_scratch", "unguided", "against")
_MOST_SEED = 2**32


class FuzzCampaign(SearchCampaign):
    """Random searches."""

    def __init__(self, arguments: argparse.Namespace, path: Path) -> None:
        super().__init__(arguments, path)
        self._lines: list[str] = []

    def placement(self, present: Sequence[Member]) -> Placement:
        """Return where searches run: if there is a choice, on the machines' own kernels."""
        arguments = self.arguments
        offered = frozenset[str]().union(*(member.resources for member in present))
        emulated = is_emulated(arguments)
        own = not emulated and (arguments.target == Where.HOST or Resource.KVM in offered)
        where, options = (Where.HOST, OF_HOST) if own else (Where.LAB, (*OF_LAB, "coverage"))
        needed = {Resource.KVM} if own else {Resource.LAB}
        if arguments.against:
            needed.add(Resource.LAB)
        words = words_of(arguments, (*_OF_EVERY, *options))
        return Placement(("fuzz", f"--target={where.value}", *words), frozenset(needed))

    def searches(self, placement: Placement, count: int) -> Sequence[Search]:
        """Return a search with a seed of its own for each worker."""
        seeds = [(self.arguments.seed + number) % _MOST_SEED for number in range(count)]
        return [Search(f"seed-{seed}", (*placement.words, f"--seed={seed}")) for seed in seeds]

    def took(self, search: Search, parcel: Parcel) -> None:
        """Count its sequences and finds."""
        names = sorted({name.split("/")[1] for name in parcel.files if name.startswith(FINDS)})
        for name in names:
            text = parcel.files.get(f"{FINDS}/{name}/find.txt", "")
            self.finds[printable(text.partition("\n")[0])].append(f"{search.name}/{FINDS}/{name}")
        growth = parcel.history.growth.values() if parcel.history else ()
        last = [one.points[-1] for one in growth if one.points]
        sequences = sum(point.sequences for point in last)
        self._lines.append(
            f"{search.name} on {printable(parcel.ending.worker)}: {sequences} sequences in "
            f"{max((point.seconds for point in last), default=0):.0f} s, {len(names)} finds"
        )

    def summary(self) -> Sequence[str]:
        """Return a line for each search."""
        return self._lines


def run_campaign(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Search on a fleet.

    :raises UsageError: an option is for a search on one machine
    :raises FleetError: see :mod:`kvmprobe.fleet`
    """
    if arguments.corpus:
        raise UsageError("--corpus is for a search on one machine; leave out --scheduler")
    return FuzzCampaign(arguments, new_directory(arguments.out, "fuzz")).run(console)
