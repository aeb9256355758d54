"""What a runner tells of what it is about to do, so that it is known when the host goes down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmprobe.execution.place import Risk
    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.ops import Op


class Ledger(Protocol):
    """Takes intents; the records themselves go to the runner's sink."""

    def place(self, target: Target, risk: Risk, facts: Mapping[str, Any]) -> None:
        """Take the target of all that follows, and what was found out about it."""

    def intend(self, scenario_ids: Sequence[str]) -> None:
        """Take what is about to run; returns when that would be known after a crash."""

    def go_on(self, scenario_id: str) -> None:
        """Take what is about to make a load that can be fatal; returns as :meth:`intend` does."""

    def held(self, record: ScenarioRecord, before: Op | None) -> None:
        """Take what a scenario showed until it was stopped before a load; it may go on later."""

    def read(self, scenario_id: str, trace: Trace) -> None:
        """Take what was read in a scenario that did not pass; its record follows."""


class NoLedger:
    """Keeps nothing."""

    def place(self, target: Target, risk: Risk, facts: Mapping[str, Any]) -> None:
        """Drop it."""

    def intend(self, scenario_ids: Sequence[str]) -> None:
        """Drop it."""

    def go_on(self, scenario_id: str) -> None:
        """Drop it."""

    def held(self, record: ScenarioRecord, before: Op | None) -> None:
        """Drop it."""

    def read(self, scenario_id: str, trace: Trace) -> None:
        """Drop it."""
