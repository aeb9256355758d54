"""Where scenarios can run, and the host's own /dev/kvm as the first such place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from kvmprobe.execution.driver import Timing
from kvmprobe.execution.local_link import LocalLink
from kvmprobe.results.record import Target

if TYPE_CHECKING:
    from kvmprobe.execution.link import Link


class Risk(Enum):
    """What a crash of the place costs."""

    REAL = "a machine that people use"
    EXPENDABLE = "a boot of the emulator"


class Place(Protocol):
    """Opens links to fresh workers on one kernel."""

    @property
    def target(self) -> Target:
        """What the records say of it."""

    @property
    def timing(self) -> Timing:
        """Deadlines there."""

    @property
    def risk(self) -> Risk:
        """What a crash costs."""

    def open(self) -> Link:
        """Return a link to a worker that has run nothing yet; a context manager."""


@dataclass(frozen=True, slots=True)
class ThisHost:
    """The /dev/kvm of the machine that kvmprobe runs on."""

    device: str = "/dev/kvm"
    timing: Timing = field(default_factory=Timing)
    risk: Risk = Risk.REAL

    @property
    def target(self) -> Target:
        """The running kernel."""
        uname = os.uname()
        return Target("host", uname.release, f"running: {uname.version}")

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
        """Of the place."""
        return self.place.target

    @property
    def risk(self) -> Risk:
        """Of the place."""
        return self.place.risk

    def open(self) -> Link:
        """Open the place."""
        return self.place.open()


def timed(place: Place, scenario: float | None, step: float | None) -> Place:
    """Return a place where scenarios and steps have so many seconds; None leaves it as it is."""
    given = {"scenario": scenario, "step": step}
    changed = {name: seconds for name, seconds in given.items() if seconds is not None}
    return Timed(place, replace(place.timing, **changed)) if changed else place
