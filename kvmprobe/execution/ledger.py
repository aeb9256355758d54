"""The ledger, to which a runner announces what it will do, so that it is known after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmprobe.execution.place import Risk
    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.ops import Op


class Ledger(Protocol):
    """Receives announcements; the records themselves go to the runner's sink."""

    def place(self, target: Target, risk: Risk, facts: Mapping[str, Any]) -> None:
        """Record the target of all following scenarios, and the facts about it."""

    def intend(self, scenario_ids: Sequence[str]) -> None:
        """Record that these scenarios are about to run; return once this survives a crash."""

    def intend_fatal(self, scenario_id: str) -> None:
        """Record that a scenario is about to make a load that can be fatal; return once safe."""

    def gated(self, record: ScenarioRecord, before: Op | None) -> None:
        """Record a scenario up to the load at which the gate stopped it; it may continue later."""

    def reached(self, scenario_id: str, blocks: bytes) -> None:
        """Record which blocks of the kernel a scenario reached; its record follows."""

    def read(self, scenario_id: str, trace: Trace) -> None:
        """Record the outputs of a scenario that did not pass; its record follows."""

    def passed(self, scenario_id: str, trace: Trace) -> None:
        """Receive the outputs of a scenario that passed; its record follows."""


class NoLedger:
    """Discards everything."""

    def place(self, target: Target, risk: Risk, facts: Mapping[str, Any]) -> None:
        """Discard it."""

    def intend(self, scenario_ids: Sequence[str]) -> None:
        """Discard it."""

    def intend_fatal(self, scenario_id: str) -> None:
        """Discard it."""

    def gated(self, record: ScenarioRecord, before: Op | None) -> None:
        """Discard it."""

    def reached(self, scenario_id: str, blocks: bytes) -> None:
        """Discard it."""

    def read(self, scenario_id: str, trace: Trace) -> None:
        """Discard it."""

    def passed(self, scenario_id: str, trace: Trace) -> None:
        """Discard it."""
