"""Searches on the workers of a fleet: one on each, whose run directories come back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from typing import TYPE_CHECKING

from kvmprobe.cli.campaign import facts
from kvmprobe.cli.received import write_received
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode
from kvmprobe.fleet.cluster import connected, members
from kvmprobe.fleet.searches import Search, Searches
from kvmprobe.reports.console import print_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from kvmprobe.fleet.cluster import Member
    from kvmprobe.fleet.parcel import Parcel
    from kvmprobe.fleet.placement import Placement


class SearchCampaign(ABC):
    """The searches, and what they found.

    :ivar arguments: of the command
    :ivar path: the directory that has their run directories
    :ivar finds: where each failure is, by what identifies it
    :ivar ran: the names of the searches that ran
    """

    def __init__(self, arguments: argparse.Namespace, path: Path) -> None:
        self.arguments = arguments
        self.path = path
        self.finds: defaultdict[str, list[str]] = defaultdict(list)
        self.ran: list[str] = []
        self._notes: list[str] = []

    @abstractmethod
    def placement(self, present: Sequence[Member]) -> Placement:
        """Return where the searches run."""

    @abstractmethod
    def searches(self, placement: Placement, count: int) -> Sequence[Search]:
        """Return the searches for so many workers."""

    @abstractmethod
    def took(self, search: Search, parcel: Parcel) -> None:
        """Look at a search that ran, and whose run directory has been written.

        :raises ScenarioError: what its worker returned is something else
        """

    @abstractmethod
    def summary(self) -> Sequence[str]:
        """Return what the searches that ran have seen, as lines."""

    def run(self, console: Console) -> ExitCode:
        """Run them; print what they did.

        :raises UsageError, FleetError: see :mod:`kvmprobe.fleet`
        :raises KeyboardInterrupt: interrupted; what had been found until then is kept
        """
        arguments = self.arguments
        try:
            with (
                connected(arguments.scheduler, arguments.tls) as client,
                progress() as status,
            ):
                status.stage(f"searches on {arguments.scheduler or 'this machine'}")
                placement = self.placement(members(client))
                searches = Searches(client, placement, self._take, self._notes.append, status)
                able = searches.workers(arguments.patience)
                searches.run(self.searches(placement, len(able)), arguments.patience)
        finally:
            seen = [*self.summary(), *self._notes, *self._found()] if self.ran else self._notes
            print_lines(console, seen)
        if not self.ran:
            return ExitCode.NOTHING_RAN
        return ExitCode.DIVERGED if self.finds else ExitCode.OK

    def note(self, line: str) -> None:
        """Tell the reader of something that did not go as it should."""
        self._notes.append(line)

    def _take(self, search: Search, parcel: Parcel) -> None:
        history = parcel.history
        if history is None:
            return
        facts_of = {name: facts(parcel.payload(name)) for name in history.facts.values()}
        write_received(self.path / search.name, parcel, facts_of)
        self.ran.append(search.name)
        self.took(search, parcel)

    def _found(self) -> list[str]:
        lines = [f"{len(self.finds)} kinds of failure"]
        for signature, places in sorted(self.finds.items()):
            lines += [f"  {signature}", *(f"    {place}" for place in places)]
        return [*lines, f"recorded in {self.path}"]
