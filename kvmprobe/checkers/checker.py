"""What a checker is: a check of one event, and the calls whose events it is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, get_args

from kvmprobe.abi import ioctls
from kvmprobe.scenarios.calls import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState
    from kvmprobe.results.record import Finding

    Check = Callable[[Event, ObservedState], Iterator[Finding]]

# A number that is no known ioctl has the kind of the call for its name.
EVERY_IOCTL = frozenset({"Ioctl", *(spec.name for spec in ioctls.ALL)})
EVERY_CALL = EVERY_IOCTL | {kind.__name__ for kind in get_args(Call)}


class Checker(NamedTuple):
    """A check, and the names of the calls (:attr:`Event.name`) that it is about."""

    check: Check
    calls: frozenset[str]


def at(*calls: str) -> Callable[[Check], Checker]:
    """Make a check a checker that is asked about these calls only."""

    def declared(check: Check) -> Checker:
        return Checker(check, frozenset(calls))

    return declared
