"""Machines that wait at the states of a graph, each until all states behind it are done."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kvmprobe.execution.branch import Branch
from kvmprobe.execution.driver import TraceLostError
from kvmprobe.execution.link import HostGoneError
from kvmprobe.lab.ports import TemplateLost
from kvmprobe.search.graph import scenario_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.lab.place import EmulatedHost
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

# How often what an emulator did is done again if it was killed from outside.
TRIES = 3


def was_killed(lost: Exception | None) -> bool:
    """Return True if an emulator was killed from outside or failed by itself."""
    cause = lost.cause if isinstance(lost, TraceLostError) else lost
    return isinstance(cause, HostGoneError | TemplateLost)


class Beginning:
    """Starts machines behind the first calls of a search.

    :ivar calls: the first calls
    """

    def __init__(
        self, place: EmulatedHost, host: HostProfile, calls: Sequence[Op], later: Sequence[Op]
    ) -> None:
        """Prepare.

        :param later: all calls that any machine may make after the first ones
        """
        self._place = place
        self._host = host
        self._later = tuple(dict.fromkeys(later))
        self.calls = tuple(calls)

    def branch(self, path: Sequence[Op]) -> Branch:
        """Return a new machine that has made the first calls and those of a path.

        :raises BranchEndedError, TraceLostError: it ended in one of them
        """
        scenario = scenario_of("explore", [(op,) for op in (*self.calls, *path)])
        link = self._place.open()
        return Branch.begin(link, self._place.timing, scenario, self._later, self._host)


class Waiting:
    """A machine that waits at a state, and how many need it.

    :ivar path: the calls that lead from the beginning to the state
    """

    def __init__(
        self, beginning: Beginning, path: Sequence[Op], branch: Branch, above: Waiting | None
    ) -> None:
        """Take a machine, which one needs.

        :param above: the machine that it was forked from, which has to live as long
        """
        self._beginning = beginning
        self._branch = branch
        self._above = above
        self._needed = 1
        self._lock = threading.Lock()
        self.path = tuple(path)

    def need(self, count: int) -> None:
        """Count more that need it."""
        with self._lock:
            self._needed += count

    def release(self) -> None:
        """Count one less; the last one ends the machine."""
        with self._lock:
            self._needed -= 1
            if self._needed:
                return
            self._branch.__exit__(None, None, None)
        if self._above is not None:
            self._above.release()

    def fork(self) -> Branch:
        """Return a copy of the machine; a new one replaces it if it was killed from outside."""
        with self._lock:
            for _ in range(TRIES):
                try:
                    return self._branch.fork()
                except TemplateLost:
                    self._branch.__exit__(None, None, None)
                    self._branch = self._beginning.branch(self.path)
            return self._branch.fork()
