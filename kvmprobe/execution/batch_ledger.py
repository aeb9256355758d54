"""A ledger of a search, which keeps little of what it tries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from kvmprobe.execution.ledger import Ledger
    from kvmprobe.execution.place import Risk
    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.ops import Op


class BatchLedger:
    """Passes on what a run announces, but for what belongs to a sequence: few are kept.

    :ivar traces: those of this batch
    :ivar blocks: which of the watched blocks each has reached; see :meth:`Link.blocks_reached`
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.traces: dict[str, Trace] = {}
        self.blocks: dict[str, bytes] = {}

    def place(self, target: Target, risk: Risk, facts: Mapping[str, Any]) -> None:
        """Pass it on."""
        self._ledger.place(target, risk, facts)

    def intend(self, scenario_ids: Sequence[str]) -> None:
        """Pass it on."""
        self._ledger.intend(scenario_ids)

    def intend_fatal(self, scenario_id: str) -> None:
        """Pass it on."""
        self._ledger.intend_fatal(scenario_id)

    def gated(self, record: ScenarioRecord, before: Op | None) -> None:
        """Pass it on."""
        self._ledger.gated(record, before)

    def reached(self, scenario_id: str, blocks: bytes) -> None:
        """Keep it for the batch."""
        self.blocks[scenario_id] = blocks

    def read(self, scenario_id: str, trace: Trace) -> None:
        """Keep it for the batch."""
        self.traces[scenario_id] = trace

    def passed(self, scenario_id: str, trace: Trace) -> None:
        """Keep it for the batch."""
        self.traces[scenario_id] = trace

    def forget(self) -> None:
        """Begin another batch."""
        self.traces.clear()
        self.blocks.clear()
