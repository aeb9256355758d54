"""``kvmprobe explore --scheduler``: the transitions in parts, one on each worker of a fleet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kvmprobe.cli.campaign import OF_LAB
from kvmprobe.cli.kernel_runs import new_directory, words_of
from kvmprobe.cli.scenario import KEPT, SUFFIX
from kvmprobe.cli.search_campaign import SearchCampaign
from kvmprobe.errors import RunDirectoryError, ScenarioError, UsageError
from kvmprobe.fleet.placement import Placement, Resource
from kvmprobe.fleet.searches import Search
from kvmprobe.reports.excerpt import printable
from kvmprobe.reports.explored import explored_lines
from kvmprobe.results.codec import from_json
from kvmprobe.results.durable import write_file
from kvmprobe.search.explored import EXPLORED, FORMAT, Explored, together

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
        self._parts: dict[str, Explored] = {}

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
        """Add what a part has seen.

        :raises ScenarioError: its file is something else
        """
        if EXPLORED not in parcel.files:
            self.note(f"{search.name} ended before it had seen anything")
            return
        part = explored_of(parcel.files[EXPLORED])
        for find in part.finds:
            text = printable(", ".join(find.known) or find.signature)
            self.finds[text].append(f"{search.name}/{KEPT}/{printable(find.name)}{SUFFIX}")
        self._parts[search.name] = part

    def summary(self) -> Sequence[str]:
        """Return the table of depths over all parts that ran.

        :raises RunDirectoryError: it cannot be kept
        """
        parts = list(self._parts.values())
        if not parts:
            return []
        if len({(part.start, part.parts, part.calls, len(part.levels)) for part in parts}) > 1:
            return ["the workers' parts are not parts of the same search"]
        seen = together(parts)
        file = self.path / EXPLORED
        try:
            write_file(file, seen.to_json())
        except OSError as error:
            raise RunDirectoryError(f"{file}: {error.strerror}") from error
        return [printable(line) for line in explored_lines(seen)]


def explored_of(text: str) -> Explored:
    """Return what a part has seen.

    :raises ScenarioError: the text is something else
    """
    try:
        data = json.loads(text)
        if data.pop("format") != FORMAT:
            raise ScenarioError(f"{EXPLORED} of a worker: not in the format {FORMAT!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ScenarioError(f"{EXPLORED} of a worker: {error!r:.200}") from error
    return from_json(Explored, data)


def run_campaign(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Explore on a fleet.

    :raises UsageError: an option is for a search on one machine
    :raises FleetError: see :mod:`kvmprobe.fleet`
    """
    for name, option in {"pairs": "--pairs", "part": "--part"}.items():
        if getattr(arguments, name):
            raise UsageError(f"{option} is for one machine; leave out --scheduler")
    return ExploreCampaign(arguments, new_directory(arguments.out, "explore")).run(console)
