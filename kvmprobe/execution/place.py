"""Places where scenarios can run; the first one is /dev/kvm of this host."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from kvmprobe.execution.driver import Timing
from kvmprobe.execution.local_link import LocalLink
from kvmprobe.results.record import Target

if TYPE_CHECKING:
    from kvmprobe.execution.link import Link


class Risk(Enum):
    """What is lost if the place crashes."""

    REAL = "a machine that people use"
    EXPENDABLE = "a boot of the emulator"


class Place(Protocol):
    """Opens links to new workers on one kernel."""

    @property
    def target(self) -> Target:
        """The place's target, as records have it."""

    @property
    def timing(self) -> Timing:
        """The deadlines at this place."""

    @property
    def risk(self) -> Risk:
        """What a crash costs."""

    @property
    def jobs(self) -> int:
        """How many links may run scenarios at the same time."""

    def recall(self) -> dict[str, Any] | None:
        """Return what an earlier run recorded about exactly this place, if it can be known."""

    def remember(self, recorded: dict[str, Any]) -> None:
        """Keep what was found out about the place, for later runs."""

    def open(self) -> Link:
        """Return a link, as a context manager, to a worker that has not run anything yet."""


@dataclass(frozen=True, slots=True)
class ThisHost:
    """The /dev/kvm of the machine that kvmprobe runs on.

    :ivar jobs: 1, since all scenarios share its kernel log and its taint
    """

    device: str = "/dev/kvm"
    timing: Timing = field(default_factory=Timing)
    risk: Risk = Risk.REAL
    jobs: int = 1

    @property
    def target(self) -> Target:
        """The running kernel."""
        uname = os.uname()
        return Target("host", uname.release, f"running: {uname.version}")

    def recall(self) -> None:
        """Nothing: a host changes between two runs."""

    def remember(self, recorded: dict[str, Any]) -> None:
        """Nothing: see :meth:`recall`."""

    def open(self) -> Link:
        """Start a worker process."""
        return LocalLink(self.device)


@dataclass(frozen=True, slots=True)
class Timed:
    """A place with other deadlines."""

    place: Place
    timing: Timing

    @property
    def target(self) -> Target:
        """The place's target."""
        return self.place.target

    @property
    def risk(self) -> Risk:
        """What a crash of the place costs."""
        return self.place.risk

    @property
    def jobs(self) -> int:
        """How many links to the place may run scenarios at the same time."""
        return self.place.jobs

    def recall(self) -> dict[str, Any] | None:
        """Return what an earlier run recorded about the place."""
        return self.place.recall()

    def remember(self, recorded: dict[str, Any]) -> None:
        """Keep what was found out about the place."""
        self.place.remember(recorded)

    def open(self) -> Link:
        """Return a link to a worker at the place."""
        return self.place.open()


def timed(place: Place, scenario: float | None, step: float | None) -> Place:
    """Return the place with other deadlines, in seconds; None keeps the place's own."""
    given = {"scenario": scenario, "step": step}
    changed = {name: seconds for name, seconds in given.items() if seconds is not None}
    return Timed(place, replace(place.timing, **changed)) if changed else place
