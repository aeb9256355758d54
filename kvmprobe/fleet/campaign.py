"""A campaign: shards of a run as tasks of dask, until each scenario has a record or is given up.

dask gives a shard to another worker if its worker is lost.  What runs on the emulated host is
repeated there.  A shard on a machine's own kernel may have crashed it, so it waits until that
machine is back and says from its journal what was running.  If it does not come back, the
scenarios that were running run again elsewhere, each alone and once; those of which also that
machine is lost get no record.
"""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import FleetError, RunTimeout
from kvmprobe.fleet.cluster import members
from kvmprobe.fleet.orders import Order
from kvmprobe.fleet.parcel import unpack
from kvmprobe.fleet.worker import TOOL, forget, running_topic, started_topic, work

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection, Sequence

    from distributed import Client, Future

    from kvmprobe.fleet.cluster import Member
    from kvmprobe.fleet.parcel import Ending, Parcel
    from kvmprobe.fleet.placement import Placement
    from kvmprobe.progress import Progress

# How often a scenario may be running on a machine that is lost.
_MOST_LOST = 2
# How often a shard may come to nothing, with no word of what was running.
_TRIES = 3
_LOOK_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Shard:
    """Scenarios that one worker runs, one shard after another.

    :ivar host: the machine that may have crashed in it, which has to go on with it
    :ivar running: the ids of the batch that was announced last
    :ivar recorded: number of its scenarios that have a record there
    :ivar where: the worker that announced it
    :ivar waiting: monotonic time since when no worker can take it
    """

    scenarios: tuple[str, ...]
    placement: Placement
    tries: int = 0
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    host: str = ""
    running: tuple[str, ...] = ()
    recorded: int = 0
    where: str = ""
    waiting: float | None = None


@dataclass(frozen=True, slots=True)
class Keeper:
    """What the client does with what comes in.

    :ivar take: keeps the records of these scenarios; returns the ids of those that have one
    :ivar lost: keeps that these were running on a machine that is lost
    :ivar note: tells the reader of the run
    """

    take: Callable[[Parcel, Collection[str]], Collection[str]]
    lost: Callable[[Sequence[str], str], None]
    note: Callable[[str], None]


class Campaign:
    """One client's work on a run."""

    def __init__(self, client: Client, run_id: str, keeper: Keeper, progress: Progress) -> None:
        self._client = client
        self._run_id = run_id
        self._keeper = keeper
        self._progress = progress
        self._shards: dict[str, tuple[Shard, Future[bytes]]] = {}
        self._by_id: dict[str, Shard] = {}
        self._refusals: dict[str, str] = {}
        self._happened: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._done = self._total = 0

    def run(
        self,
        shards: Sequence[Shard],
        lost: Counter[str],
        patience: float,
        deadline: float,
    ) -> None:
        """Run the shards.

        :param lost: how often a scenario was running on a machine that was lost
        :param patience: seconds to wait for a worker
        :param deadline: monotonic time
        :raises FleetError: the scheduler is lost, or no worker can run what is left
        :raises RunTimeout: the deadline passed
        """
        self._lost = lost
        self._patience = patience
        self._total = sum(len(shard.scenarios) for shard in shards)
        for topic in (started_topic(self._run_id), running_topic(self._run_id)):
            self._client.subscribe_topic(topic, self._event)
        for shard in shards:
            self._submit(shard)
        looked = 0.0
        while self._shards:
            with contextlib.suppress(queue.Empty):
                self._take(self._happened.get(timeout=_LOOK_SECONDS))
            if time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                self._look()
            if time.monotonic() > deadline:
                left = sum(len(shard.scenarios) for shard, _ in self._shards.values())
                raise RunTimeout(f"time is up: {left} of {self._total} scenarios did not complete")
        with contextlib.suppress(Exception):  # it keeps a directory that nobody needs
            self._client.run(forget, self._run_id)

    def _event(self, event: tuple[float, dict[str, Any]]) -> None:
        self._happened.put(event[1])

    def _submit(self, shard: Shard, workers: Sequence[str] | None = None) -> None:
        order = Order(
            self._run_id,
            shard.id,
            TOOL,
            shard.placement.words,
            shard.scenarios,
            shard.placement.real,
        )
        future = self._client.submit(
            work,
            order.text(),
            key=f"kvmprobe-{shard.id}-{uuid.uuid4().hex[:8]}",
            resources={resource.value: 1 for resource in shard.placement.resources},
            workers=workers,
            pure=False,
        )
        self._shards[str(future.key)] = shard, future
        self._by_id[shard.id] = shard
        future.add_done_callback(lambda done: self._happened.put(done.key))

    def _take(self, happened: str | dict[str, Any]) -> None:
        if isinstance(happened, str):
            if found := self._shards.pop(happened, None):
                self._ended(*found)
            return
        shard = self._by_id.get(happened.get("shard", ""))
        if shard is None:
            return
        if "address" in happened:
            shard.host = _host(happened["address"])
        else:
            shard.where = str(happened["worker"])
            shard.running = tuple(map(str, happened["open"]))
            shard.recorded = int(happened["recorded"])
            self._show()

    def _show(self) -> None:
        running = [shard for shard, _ in self._shards.values() if shard.where]
        self._progress.advance(self._done + sum(s.recorded for s in running), self._total)
        states = [f"{s.where} {s.recorded}/{len(s.scenarios)}" for s in running]
        self._progress.now(", ".join(sorted(states)))

    def _ended(self, shard: Shard, future: Future[bytes]) -> None:
        if future.status == "error":
            self._killed(shard, future)
            return
        if future.status != "finished":
            raise FleetError("the connection to the scheduler is lost")
        parcel = unpack(future.result())
        recorded = self._keeper.take(parcel, shard.scenarios)
        left = tuple(i for i in shard.scenarios if i not in recorded)
        self._done += len(shard.scenarios) - len(left)
        shard.scenarios, shard.where, shard.recorded = left, "", 0
        self._show()
        if left:
            self._unfinished(shard, parcel.ending)

    def _unfinished(self, shard: Shard, ending: Ending) -> None:
        if ending.elsewhere:
            shard.host = _host(ending.elsewhere)
            self._submit(shard, [shard.host])
        elif ending.refused:
            self._refusals[ending.address] = f"{ending.worker}: {ending.refused}"
            self._elsewhere(shard)
        elif ending.died:
            self._keeper.note(f"{ending.worker}: {ending.died}")
            self._go_on_without(shard, ending.worker, ending.open)

    def _elsewhere(self, shard: Shard) -> None:
        """Give it to a worker that has not refused."""
        others = [member.address for member in self._able(shard, members(self._client))]
        if not others:
            reasons = "; ".join(self._refusals.values())
            raise FleetError(f"no worker can run what is left: {reasons}")
        shard.host = ""
        self._submit(shard, others)

    def _killed(self, shard: Shard, future: Future[bytes]) -> None:
        """Several workers that had the shard are lost, or it could not be given to one."""
        error = future.exception()
        if type(error).__name__ != "KilledWorker":
            raise FleetError(f"a worker could not begin: {error!r}; is kvmprobe installed there?")
        self._keeper.note(f"workers were lost during a shard, the last one {shard.where}")
        self._go_on_without(shard, shard.where, shard.running)

    def _go_on_without(self, shard: Shard, where: str, running: Sequence[str]) -> None:
        """Repeat what was running on a lost machine alone, once, and the rest elsewhere."""
        there = [i for i in shard.scenarios if i in set(running)]
        if not there and shard.tries == _TRIES:
            there = list(shard.scenarios)
        rest = tuple(i for i in shard.scenarios if i not in there)
        if there:
            self._keeper.lost(there, where)
        if rest:
            self._submit(Shard(rest, shard.placement, shard.tries + 1), self._others(shard))
        for scenario in there:
            self._lost[scenario] += 1
            if self._lost[scenario] < _MOST_LOST:
                alone = Shard((scenario,), shard.placement)
                self._submit(alone, self._others(shard))
            else:
                self._keeper.note(f"{scenario}: the machines that ran it were lost, twice")

    def _others(self, shard: Shard) -> list[str] | None:
        """Return the workers on other machines; None if there is none yet."""
        able = self._able(shard, members(self._client))
        return [member.address for member in able if member.host != shard.host] or None

    def _able(self, shard: Shard, present: Sequence[Member]) -> list[Member]:
        """Return the workers that offer what a shard needs and have not refused one."""
        return [
            member
            for member in present
            if shard.placement.fits(member.resources) and member.address not in self._refusals
        ]

    def _look(self) -> None:
        """Find shards that no worker can take, and give them up when it has taken too long."""
        present = members(self._client)
        for key, (shard, future) in list(self._shards.items()):
            if any(shard.host in {"", member.host} for member in self._able(shard, present)):
                shard.waiting = None
                continue
            now = time.monotonic()
            if shard.waiting is None:
                shard.waiting = now
                what = f"the machine {shard.host}" if shard.host else self._wanted(shard)
                self._progress.stage(f"waiting for {what}, for {self._patience:g} s")
            elif now - shard.waiting > self._patience:
                del self._shards[key]
                future.cancel()
                self._expired(shard)

    def _expired(self, shard: Shard) -> None:
        if not shard.host:
            raise FleetError(f"no {self._wanted(shard)} came within {self._patience:g} s")
        self._keeper.note(f"{shard.host} was lost during a shard, and has not come back")
        self._go_on_without(shard, shard.host, shard.running)

    @staticmethod
    def _wanted(shard: Shard) -> str:
        return f"worker with {' and '.join(sorted(shard.placement.resources))}"


def _host(address: str) -> str:
    """Return the host of an address of dask's: ``tls://[::1]:40001`` and ``tls://10.0.0.7:40001``."""
    return address.rpartition("://")[2].rpartition(":")[0].strip("[]")
