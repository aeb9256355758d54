"""The hosts between which guests move: each boots once, and several side by side.

They work in threads: what takes time is the emulators, which are processes.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Self

import psutil

from kvmprobe.errors import KvmprobeError, Unavailable
from kvmprobe.execution.migrating import MovingHost
from kvmprobe.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from kvmprobe.execution.place import Place
    from kvmprobe.moves.planning import Host
    from kvmprobe.progress import Progress

    Opener = Callable[[Host, Progress], AbstractContextManager[Place]]

# Where less memory is left, a host that has booted is closed until it is wanted again.
_LEAST_BYTES = 2 << 30
# On a machine with much else to do, a boot may be silent for too long.
_TRIES = 2


class MovingHosts:
    """Hosts by kernel and processor; a context manager that ends all their machines.

    :ivar ready: those that were booted and probed
    :ivar refused: why there are no such hosts
    :ivar failed: why the others did not boot or save their guests, which may be a fault of the
        machine that emulates them
    """

    def __init__(self, opener: Opener, progress: Progress) -> None:
        """Prepare them.

        :param opener: returns the place of a host, which is closed once it is not needed
        """
        self._opener = opener
        self._progress = progress
        self._open: dict[Host, contextlib.ExitStack] = {}
        self.ready: dict[Host, MovingHost] = {}
        self.refused: dict[Host, str] = {}
        self.failed: dict[Host, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for host in list(self._open):
            self._close(host)

    @contextlib.contextmanager
    def threads(self, jobs: int, name: str) -> Iterator[ThreadPoolExecutor]:
        """Yield threads to work in; at an error all machines end, and so what they wait for."""
        pool = ThreadPoolExecutor(jobs, name)
        try:
            yield pool
        except BaseException:
            self.__exit__()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def boot(
        self, hosts: Sequence[Host], jobs: int, then: Callable[[Host, MovingHost], None]
    ) -> None:
        """Boot and probe each host.

        :param jobs: how many work at the same time
        :param then: called for each, in a thread
        """
        room = threading.Semaphore(jobs + 1)
        with self.threads(jobs, "kvmprobe-boot") as pool:
            futures = []
            for number, host in enumerate(hosts):
                room.acquire()
                self._progress.advance(number, len(hosts))
                try:
                    place = self._enter(host, self._progress)
                except KvmprobeError as error:
                    self.refused[host] = str(error)
                    room.release()
                else:
                    futures.append(pool.submit(self._boot, host, place, then))
                    futures[-1].add_done_callback(lambda _: room.release())
            for done in as_completed(futures):
                done.result()

    def _boot(self, host: Host, place: Place, then: Callable[[Host, MovingHost], None]) -> None:
        for _ in range(_TRIES):
            try:
                found = MovingHost.probed(place)
                then(host, found)
            except Unavailable as error:
                self.refused[host] = str(error)
                break
            except KvmprobeError as error:
                self.failed[host] = str(error)
            else:
                self.ready[host] = found
                self.failed.pop(host, None)
                break
        if psutil.virtual_memory().available < _LEAST_BYTES:
            self._close(host)

    def opened(self, host: Host) -> MovingHost:
        """Return a host that was booted, whose machine is booted again if it was closed.

        :raises LabError: it cannot be
        """
        if host not in self._open:
            self.ready[host] = self.ready[host].at(self._enter(host, Silent()))
        return self.ready[host]

    def name(self, host: Host) -> str:
        """Return how reports name a host."""
        ready = self.ready.get(host)
        if ready:
            return ready.name
        return f"{host.kernel} --cpu {host.cpu}" if host.cpu else host.kernel

    def _enter(self, host: Host, progress: Progress) -> Place:
        stack = contextlib.ExitStack()
        place = stack.enter_context(self._opener(host, progress))
        self._open[host] = stack
        return place

    def _close(self, host: Host) -> None:
        stack = self._open.pop(host, None)
        if stack is not None:
            stack.close()
