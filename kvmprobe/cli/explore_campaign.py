"""``kvmprobe explore --scheduler``: the transitions in parts, one on each worker of a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.cli.campaign import OF_LAB
from kvmprobe.cli.kernel_runs import new_directory, words_of
from kvmprobe.cli.scenario import KEPT, SUFFIX
from kvmprobe.cli.search_campaign import SearchCampaign
from kvmprobe.errors import RunDirectoryError, UsageError
from kvmprobe.fleet.placement import Placement, Resource
from kvmprobe.fleet.searches import Search
from kvmprobe.reports.excerpt import printable
from kvmprobe.reports.explored import explored_lines
from kvmprobe.results.durable import write_file
from kvmprobe.search.explored import EXPLORED, Explored, together

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from kvmprobe.errors import ExitCode
    from kvmprobe.fleet.cluster import Member
    from kvmprobe.fleet.parcel import Parcel

_OF_EVERY = ("start", "depth", "ops", "minutes")


class ExploreCampaign(SearchCampaign):
    """The parts of a systematic search."""

    def __init__(self, arguments: argparse.Namespace, path: Path) -> None:
        super().__init__(arguments, path)
        self._parts: list[Explored] = []

    def placement(self, present: Sequence[Member]) -> Placement:  # noqa: ARG002 - no choice
        """Return where the parts run: on emulated hosts."""
        words = words_of(self.arguments, (*_OF_EVERY, *OF_LAB))
        return Placement(("explore", *words), frozenset({Resource.LAB}))

    def searches(self, placement: Placement, count: int) -> Sequence[Search]:
        """Return a part for each worker."""
        return [
            Search(f"part-{number}-of-{count}", (*placement.words, f"--part={number}/{count}"))
            for number in range(1, count + 1)
        ]

    def took(self, search: Search, parcel: Parcel) -> None:
        """Add what a part has seen, and keep what all that ran have seen together.

        :raises ScenarioError: its file is something else
        :raises RunDirectoryError: it cannot be kept
        """
        if EXPLORED not in parcel.files:
            self.note(f"{search.name} ended before it had seen anything")
            return
        part = Explored.of(parcel.files[EXPLORED])
        if self._parts and _search_of(part) != _search_of(self._parts[0]):
            self.note(f"{search.name} is no part of the same search as the others")
            return
        for find in part.finds:
            text = printable(", ".join(find.known) or find.signature)
            self.finds[text].append(f"{search.name}/{KEPT}/{printable(find.name)}{SUFFIX}")
        self._parts.append(part)
        file = self.path / EXPLORED
        try:
            write_file(file, together(self._parts).to_json())
        except OSError as error:
            raise RunDirectoryError(f"{file}: {error.strerror}") from error

    def summary(self) -> Sequence[str]:
        """Return the table of depths over all parts that ran."""
        if not self._parts:
            return []
        return [printable(line) for line in explored_lines(together(self._parts))]


def _search_of(part: Explored) -> tuple[object, ...]:
    """Return what parts of one search have in common."""
    return part.start, part.parts, part.calls, len(part.levels)


def run_campaign(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Explore on a fleet.

    :raises UsageError: an option is for a search on one machine
    :raises FleetError: see :mod:`kvmprobe.fleet`
    """
    for name, option in {"pairs": "--pairs", "part": "--part"}.items():
        if getattr(arguments, name):
            raise UsageError(f"{option} is for one machine; leave out --scheduler")
    return ExploreCampaign(arguments, new_directory(arguments.out, "explore")).run(console)
