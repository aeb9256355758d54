"""Whether two failures with one signature have the same cause: by the calls that changed state.

Two defects can show in the same read.  The reduced scenario of one has, in order, the calls that
are needed for it; a scenario without these calls in this order fails for another reason.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.scenarios.scenario import Scenario

# What an op's text begins with names the call, and the MSR or member that it writes.
_VALUE = re.compile(r"=|\b[0-9]")
Writes = tuple[str, ...]


def writes_of(scenario: Scenario) -> Writes:
    """Return what the calls write, in order, without values and without those that only read."""
    return tuple(_VALUE.split(op.text)[0] for _, op in scenario.ops() if "_GET_" not in op.text)


def can_be_caused_by(scenario: Scenario, causes: Sequence[Writes]) -> bool:
    """Return True if the scenario has the calls of one of the causes, in order."""
    made = writes_of(scenario)
    return any(_is_within(cause, made) for cause in causes)


def _is_within(cause: Writes, made: Writes) -> bool:
    left = iter(made)
    return all(call in left for call in cause)
