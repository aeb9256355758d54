"""Searches on the workers of a fleet, one on each: they do not depend on each other.

A search on the emulated host whose worker is lost begins again on another one.  One on a machine's
own kernel may have crashed it, and does not: its journal there has what was running.
"""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import FleetError
from kvmprobe.fleet.cluster import members
from kvmprobe.fleet.hunting import hunt, interrupt
from kvmprobe.fleet.orders import Order
from kvmprobe.fleet.parcel import unpack
from kvmprobe.fleet.worker import TOOL, forget, running_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed import Client, Future

    from kvmprobe.fleet.cluster import Member
    from kvmprobe.fleet.parcel import Parcel
    from kvmprobe.fleet.placement import Placement
    from kvmprobe.progress import Progress

_LOOK_SECONDS = 1.0
# After ^C, until the workers have written what they found.
_GRACE_SECONDS = 60.0
# How often a search begins.
_TRIES = 3


@dataclass(slots=True, eq=False)
class Search:
    """One command, on one worker at a time.

    :ivar name: unique in the campaign
    :ivar words: the command line, without ``--out``
    :ivar worker: where it runs
    :ivar said: its last line of progress
    """

    name: str
    words: tuple[str, ...]
    tries: int = 0
    worker: Member | None = None
    said: str = ""

    @property
    def where(self) -> str:
        """The worker and its machine, for people."""
        return f"{self.worker.name} ({self.worker.host})" if self.worker else "a worker"


class Searches:
    """One client's searches."""

    def __init__(
        self,
        client: Client,
        placement: Placement,
        take: Callable[[Search, Parcel], None],
        note: Callable[[str], None],
        progress: Progress,
    ) -> None:
        """Prepare them.

        :param take: receives the run directory of each search that ran
        :param note: tells the reader of what did not
        """
        self._client = client
        self._placement = placement
        self._take = take
        self._note = note
        self._progress = progress
        self._campaign = str(uuid.uuid4())
        self._open: dict[str, tuple[Search, Future[bytes]]] = {}
        self._happened: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def workers(self, patience: float) -> list[Member]:
        """Return the workers that can run one, of which there is one at least.

        :param patience: seconds to wait for it
        :raises FleetError: it did not come
        """
        deadline = time.monotonic() + patience
        while True:
            if able := [m for m in members(self._client) if self._placement.fits(m.resources)]:
                return able
            wanted = " and ".join(sorted(self._placement.resources))
            if time.monotonic() > deadline:
                raise FleetError(f"no worker with {wanted} came within {patience:g} s")
            self._progress.stage(f"waiting for a worker with {wanted}, for {patience:g} s")
            time.sleep(_LOOK_SECONDS)

    def run(self, searches: Sequence[Search], patience: float) -> None:
        """Run them, each on a worker of its own as long as there are enough.

        :param patience: seconds to wait for a worker, where one is lost
        :raises FleetError: the scheduler is lost, or there is no worker any more
        :raises KeyboardInterrupt: interrupted; what had been found until then was taken
        """
        self._client.subscribe_topic(running_topic(self._campaign), self._event)
        for search in searches:
            self._begin(search, patience)
        try:
            self._watch(patience)
        except KeyboardInterrupt:
            self._end(patience)
            raise
        with contextlib.suppress(Exception):  # it keeps a directory that nobody needs
            self._client.run(forget, self._campaign)

    def _event(self, event: tuple[float, dict[str, Any]]) -> None:
        self._happened.put(event[1])

    def _begin(self, search: Search, patience: float) -> None:
        able = self.workers(patience)
        used = Counter(one.worker.address for one, _ in self._open.values() if one.worker)
        search.worker = min(able, key=lambda member: used[member.address])
        search.tries += 1
        order = Order(self._campaign, search.name, TOOL, search.words, (), self._placement.real)
        future = self._client.submit(
            hunt,
            order.text(),
            key=f"kvmprobe-{search.name}-{uuid.uuid4().hex[:8]}",
            resources={resource.value: 1 for resource in self._placement.resources},
            workers=[search.worker.address],
            pure=False,
        )
        self._open[str(future.key)] = search, future
        future.add_done_callback(lambda done: self._happened.put(done.key))

    def _watch(self, patience: float) -> None:
        looked = time.monotonic()
        while self._open:
            self._next(patience)
            if time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                for search in self._gone():
                    self._lost(search, patience)

    def _end(self, patience: float) -> None:
        """Let the workers write what they have found, and take it."""
        self._progress.stage("ending the searches")
        for search in self._gone():
            self._note(f"{search.where} was lost in {search.name}")
        self._client.run(interrupt, self._campaign)
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._open and time.monotonic() < deadline:
            self._next(patience)
        for search, _ in self._open.values():
            self._note(f"{search.name} had not ended after {_GRACE_SECONDS:g} s")

    def _next(self, patience: float) -> None:
        """Take what happens next, if it happens soon."""
        try:
            happened = self._happened.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            return
        if isinstance(happened, str):
            if found := self._open.pop(happened, None):
                self._ended(*found, patience)
            return
        for search, _ in self._open.values():
            if search.name == happened.get("shard"):
                search.said = str(happened.get("said", ""))
        self._show()

    def _show(self) -> None:
        states = [f"{s.worker.name}: {s.said}" for s, _ in self._open.values() if s.worker]
        self._progress.now("; ".join(sorted(states)))

    def _ended(self, search: Search, future: Future[bytes], patience: float) -> None:
        if future.status == "error":
            self._note(f"{search.name}: {future.exception()!r}"[:200])
            self._lost(search, patience)
            return
        if future.status != "finished":
            raise FleetError("the connection to the scheduler is lost")
        parcel = unpack(future.result())
        if reason := parcel.ending.refused or parcel.ending.died:
            self._note(f"{parcel.ending.worker}: {search.name}: {reason}")
        self._take(search, parcel)

    def _gone(self) -> list[Search]:
        """Give up the searches whose worker is gone, and return them."""
        present = {member.address for member in members(self._client)}
        gone = {
            key: (search, future)
            for key, (search, future) in self._open.items()
            if search.worker is None or search.worker.address not in present
        }
        for key, (_, future) in gone.items():
            del self._open[key]
            future.cancel()
        return [search for search, _ in gone.values()]

    def _lost(self, search: Search, patience: float) -> None:
        if self._placement.real:
            self._note(
                f"{search.where} was lost in {search.name}; its journal there, below "
                f"kvmprobe/fleet/{self._campaign}, has what was running"
            )
        elif search.tries < _TRIES:
            self._note(f"{search.where} was lost in {search.name}, which begins again")
            self._begin(search, patience)
        else:
            self._note(f"{search.where} was lost in {search.name}, {_TRIES} times")
