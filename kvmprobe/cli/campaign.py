"""``kvmprobe run --scheduler``: the scenarios of a run on the workers of a fleet."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from kvmprobe.checkers.companions import compared
from kvmprobe.cli.grammar.choices import Where
from kvmprobe.cli.kernel_runs import words_of
from kvmprobe.cli.places import is_emulated
from kvmprobe.cli.traits import catalogue
from kvmprobe.errors import ScenarioError
from kvmprobe.execution.place import Risk
from kvmprobe.fleet.campaign import Campaign, Keeper, Shard
from kvmprobe.fleet.cluster import connected, members
from kvmprobe.fleet.placement import Placement, Resource
from kvmprobe.scenarios.relations import base_id

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from kvmprobe.cli.attempt import Attempt
    from kvmprobe.fleet.cluster import Member
    from kvmprobe.fleet.parcel import Parcel
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import ScenarioRecord

# Options of `run` that a shard is given as they are.
_OF_EVERY = ("scenario_timeout", "step_timeout")
OF_LAB = ("kernel", "modules", "archive", "tarball", "cpu", "cpus", "append", "jobs", "cold")
OF_HOST = ("device", "hazardous", "all_crashes", "allow_tainted", "shared")
# Half a minute on one processor, against two or three seconds to begin a shard; fewer where a run
# has few, so that each worker has some shards and the last does not keep the others waiting.
_MOST = 1000
_LEAST = 24
_SHARDS_OF_A_WORKER = 3


class Fleet:
    """A run's work on a fleet.

    :ivar notes: notes for the reader of the run
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        attempt: Attempt,
        take: Callable[[ScenarioRecord], None],
        status: Progress,
    ) -> None:
        """Prepare it.

        :param take: receives each record
        """
        self.notes: list[str] = []
        self._arguments = arguments
        self._attempt = attempt
        self._take = take
        self._status = status

    def run(self, left: Sequence[str], deadline: float) -> None:
        """Run these scenarios.

        :param deadline: monotonic time
        :raises UsageError, FleetError, RunTimeout: see :mod:`kvmprobe.fleet`
        """
        address = self._arguments.scheduler
        self._status.stage(f"campaign on {address or 'this machine'}")
        keeper = Keeper(self._kept, self._attempt.ledger.lost, self.notes.append)
        with connected(address, self._arguments.tls) as client:
            campaign = Campaign(client, self._attempt.begin["run_id"], keeper, self._status)
            lost = Counter(self._attempt.past.lost)
            shards = list(self._shards(left, members(client)))
            campaign.run(shards, lost, self._arguments.patience, deadline)

    def _shards(self, left: Sequence[str], present: Sequence[Member]) -> Iterator[Shard]:
        lost = self._attempt.past.lost
        once = [i for i in left if lost.get(i, 0) == 1]
        scenarios = {traits.scenario.id: traits.scenario for traits in catalogue()}
        placed: dict[Placement, list[str]] = {}
        for scenario in left:
            base = scenarios.get(scenario) or scenarios.get(base_id(scenario))
            place = self._place(present, amx=base is not None and base.needs_amx)
            placed.setdefault(place, []).append(scenario)
        for place, ids in placed.items():
            able = sum(place.fits(member.resources) for member in present)
            yield from (Shard((i,), place) for i in ids if i in once)
            together = compared(scenarios.values(), [i for i in ids if i not in lost])
            yield from (Shard(part, place) for part in parts(together, max(able, 1)))

    def _place(self, present: Sequence[Member], *, amx: bool) -> Placement:
        """Return where a scenario runs: if there is a choice, on a machine's own kernel."""
        emulated = is_emulated(self._arguments)
        offered = frozenset[str]().union(*(member.resources for member in present))
        own = frozenset({Resource.KVM, Resource.AMX} if amx else {Resource.KVM})
        if not emulated and own <= offered:
            return Placement(self._words(Where.HOST), own)
        if not emulated and (self._arguments.target == Where.HOST or Resource.LAB not in offered):
            return Placement(self._words(Where.HOST), frozenset({Resource.KVM}))
        return Placement(self._words(Where.LAB), frozenset({Resource.LAB}))

    def _words(self, where: Where) -> tuple[str, ...]:
        options = OF_LAB if where == Where.LAB else OF_HOST
        own = words_of(self._arguments, (*_OF_EVERY, *options))
        return ("run", f"--target={where.value}", *own)

    def _kept(self, parcel: Parcel, wanted: Collection[str]) -> Collection[str]:
        history = parcel.history
        if history is None:
            return ()
        ledger = self._attempt.ledger
        for target, name in history.facts.items():
            if target not in ledger.environments:
                ledger.place(target, Risk.EXPENDABLE, facts(parcel.payload(name)))
        found = set()
        for (target, scenario), record in history.records.items():
            if scenario in wanted and scenario not in found:
                found.add(scenario)
                ledger.keep_outputs(scenario, parcel.outputs(target, scenario))
                self._take(record)
        end = history.end or {}
        new = (f"{parcel.ending.worker}: {note}" for note in end.get("notes", ()))
        self.notes += (note for note in new if note not in self.notes)
        return found


def facts(content: bytes) -> dict[str, Any]:
    """Return the facts about a worker's host.

    :raises ScenarioError: it is something else
    """
    try:
        read = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"the facts about a worker's host: {error}") from error
    if not isinstance(read, dict):
        raise ScenarioError("the facts about a worker's host are not a JSON object")
    return read


def parts(groups: Iterable[Sequence[str]], workers: int) -> Iterator[tuple[str, ...]]:
    """Yield the scenarios of shards, none of which divides a group.

    :param workers: how many can run them
    """
    groups = list(groups)
    count = sum(map(len, groups))
    size = min(max(math.ceil(count / (workers * _SHARDS_OF_A_WORKER)), _LEAST), _MOST)
    part: list[str] = []
    for group in groups:
        part += group
        if len(part) >= size:
            yield tuple(part)
            part = []
    if part:
        yield tuple(part)
