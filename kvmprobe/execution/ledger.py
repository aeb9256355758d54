"""What a runner announces before it does it, so that it is known if the host goes down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmprobe.execution.place import Risk
    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.ops import Op


class Ledger(Protocol):
    """Receives intents; the records themselves go to the runner's sink."""

    def place(self, target: Target, risk: Risk, facts: Mapping[str, Any]) -> None:
        """Receive the target of all that follows, and what the probes found there."""

    def intend(self, scenario_ids: Sequence[str]) -> None:
        """Receive what is about to run; return when that would be known after a crash."""

    def go_on(self, scenario_id: str) -> None:
        """Receive what is about to make a load that can be fatal; return as :meth:`intend` does."""

    def gated(self, record: ScenarioRecord, before: Op | None) -> None:
        """Receive what a scenario showed until the gate stopped it; it may go on later."""

    def read(self, scenario_id: str, trace: Trace) -> None:
        """Receive what was read in a scenario that did not pass; its record follows."""


class NoLedger:
    """Discards everything."""

    def place(self, target: Target, risk: Risk, facts: Mapping[str, Any]) -> None:
        """Discard it."""

    def intend(self, scenario_ids: Sequence[str]) -> None:
        """Discard it."""

    def go_on(self, scenario_id: str) -> None:
        """Discard it."""

    def gated(self, record: ScenarioRecord, before: Op | None) -> None:
        """Discard it."""

    def read(self, scenario_id: str, trace: Trace) -> None:
        """Discard it."""
