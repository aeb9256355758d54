"""Runs scenarios on several links to an expendable place side by side.

Each link has a thread, which takes the next request as soon as its worker can have one more.  What
ends a worker costs a link: the thread opens another one and repeats what had not completed.  The
results come out in the order of the requests, whichever link they come from.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.execution.driver import Driver, TraceLostError
from kvmprobe.execution.link import HostGoneError, LinkLostError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from kvmprobe.execution.driver import Request
    from kvmprobe.execution.link import Link
    from kvmprobe.execution.place import Place
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.trace import Trace

    Result = Trace | TraceLostError

# What a host was doing is done again if it was killed from outside: by the OOM killer, or an
# administrator.
TRIES = 3


@dataclass(slots=True)
class _Item:
    """A request, its place in the order, and how often it has been tried."""

    number: int
    request: Request
    tries: int = 1


class Shards:
    """The links of one run: as many as the place has jobs."""

    def __init__(self, place: Place, host: HostProfile) -> None:
        self._place = place
        self._host = host
        self._lock = threading.Lock()
        self._waiting: deque[_Item] = deque()
        self._results: queue.SimpleQueue[tuple[int, Result] | BaseException] = queue.SimpleQueue()
        self._links: set[Link] = set()
        self._stopping = False

    def run(self, requests: Sequence[Request], deadline: float) -> Generator[Result, None, None]:
        """Yield the result of each request, in order; close the iterator to stop early.

        :param deadline: monotonic time, seconds, until which to wait; infinity for no limit
        :raises TimeoutError: that time has passed
        :raises BootFailed, LabError: no link can be opened
        """
        self._waiting.extend(_Item(number, request) for number, request in enumerate(requests))
        threads = [
            threading.Thread(target=self._serve, name=f"kvmprobe-shard-{n}")
            for n in range(min(self._place.jobs, len(requests)))
        ]
        for thread in threads:
            thread.start()
        try:
            yield from self._in_order(len(requests), deadline)
        finally:
            self._stop()
            for thread in threads:
                thread.join()

    def _in_order(self, count: int, deadline: float) -> Iterator[Result]:
        early: dict[int, Result] = {}
        for number in range(count):
            while number not in early:
                try:
                    result = self._results.get(timeout=_until(deadline))
                except queue.Empty:
                    raise TimeoutError from None
                if isinstance(result, BaseException):
                    raise result
                early.__setitem__(*result)
            yield early.pop(number)

    def _stop(self) -> None:
        with self._lock:
            self._stopping = True
            for link in self._links:
                link.abort()

    def _serve(self) -> None:
        unfinished: deque[_Item] = deque()
        try:
            while not self._stopping and (unfinished or self._waiting):
                self._serve_link(unfinished)
        except BaseException as error:
            self._results.put(error)

    def _serve_link(self, unfinished: deque[_Item]) -> None:
        """Run requests on a new link until none is left or the link is lost."""
        with self._place.open() as link:
            with self._lock:
                if self._stopping:
                    return
                self._links.add(link)
            running: deque[_Item] = deque()
            try:
                driver = Driver(link, self._place.timing)
                requests = self._take(unfinished, running)
                for _, trace in driver.traces(requests, self._host):
                    self._results.put((running.popleft().number, trace))
            except TraceLostError as lost:
                if self._stopping:
                    return
                if was_killed(lost) and running[0].tries < TRIES:
                    running[0].tries += 1
                else:
                    self._results.put((running.popleft().number, lost))
                unfinished.extendleft(reversed(running))
            finally:
                with self._lock:
                    self._links.discard(link)

    def _take(self, unfinished: deque[_Item], running: deque[_Item]) -> Iterator[Request]:
        while not self._stopping:
            with self._lock:
                first = unfinished or self._waiting
                if not first:
                    return
                running.append(first.popleft())
            yield running[-1].request


def was_killed(lost: LinkLostError) -> bool:
    """Return True if the link's host was killed from outside or failed by itself."""
    cause = lost.cause if isinstance(lost, TraceLostError) else lost
    return isinstance(cause, HostGoneError)


def _until(deadline: float) -> float | None:
    """Return the seconds until then, at least 0; None for infinity."""
    return None if deadline == float("inf") else max(deadline - time.monotonic(), 0.0)
