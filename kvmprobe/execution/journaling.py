"""The ledger of a run in its directory, with marks in the kernel log if the host is real.

The journal is flushed once for each batch, with its intent; this also writes the results before it.
So a panic of this host loses at most the results of the current batch.
"""

from __future__ import annotations

import json
import time
from calendar import timegm
from typing import TYPE_CHECKING, Any

from kvmprobe.coverage.reached import pack
from kvmprobe.execution.place import Risk
from kvmprobe.host.kernel_log import mark
from kvmprobe.results.codec import to_json
from kvmprobe.results.growth import Point, Strategy
from kvmprobe.results.journal import EntryType
from kvmprobe.results.record import Target
from kvmprobe.results.record_json import record_to_json
from kvmprobe.results.run_document import Ending
from kvmprobe.scenarios.ops import Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmprobe.coverage.functions import KernelFunctions
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.run_directory import RunDirectory
    from kvmprobe.results.trace import Trace

_OP: Any = Op | None
# ISO 8601, UTC.
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def now() -> str:
    """Return the current time in the format of journal entries."""
    return time.strftime(_TIME, time.gmtime())


def since_epoch(text: str) -> int:
    """Return an entry's time as seconds since the epoch."""
    return timegm(time.strptime(text, _TIME))


class Journaling:
    """Writes the journal of one attempt.

    :ivar environments: facts about each target, those of earlier attempts included
    """

    def __init__(
        self,
        directory: RunDirectory,
        environments: Mapping[Target, Mapping[str, Any]] | None = None,
    ) -> None:
        self.environments = dict(environments or {})
        self._directory = directory
        self._journal = directory.journal
        self._risk = Risk.EXPENDABLE
        self._batch = 0
        self._outputs: dict[str, dict[str, str]] = {}

    def place(self, target: Target, risk: Risk, facts: Mapping[str, Any]) -> None:
        """Write the target and its facts."""
        self.environments[target] = facts
        self._risk = risk
        content = json.dumps(facts, indent=1, sort_keys=True).encode()
        entry = {
            "target": to_json(Target, target),
            "real": risk is Risk.REAL,
            "facts": self._directory.keep(content),
            "time": now(),
        }
        self._journal.append(EntryType.PLACE, entry)

    def intend(self, scenario_ids: Sequence[str]) -> None:
        """Write a batch to the disk, and all entries before it."""
        self._intent(scenario_ids, {"goes_on": False})

    def intend_fatal(self, scenario_id: str) -> None:
        """Write to the disk that this scenario may be fatal."""
        self._intent([scenario_id], {"goes_on": True})

    def gated(self, record: ScenarioRecord, before: Op | None) -> None:
        """Write the record of a scenario up to the load at which the gate stopped it."""
        entry = {"record": record_to_json(record), "before": to_json(_OP, before)}
        self._journal.append(EntryType.GATED, entry)

    def watches(self, functions: KernelFunctions) -> None:
        """Write the functions whose blocks are watched at the next place."""
        content = json.dumps(functions.to_json()).encode()
        self._journal.append(EntryType.WATCHED, {"functions": self._directory.keep(content)})

    def reached(self, scenario_id: str, blocks: bytes) -> None:
        """Write which of the watched blocks a scenario reached."""
        entry = {"scenario": scenario_id, "blocks": pack(blocks)}
        self._journal.append(EntryType.REACHED, entry)

    def grew(self, strategy: Strategy, point: Point) -> None:
        """Write what a search has done and reached at the place."""
        entry = {"strategy": to_json(Strategy, strategy), "point": to_json(Point, point)}
        self._journal.append(EntryType.GROWTH, entry)

    def read(self, scenario_id: str, trace: Trace) -> None:
        """Store the outputs of a scenario; its record, which follows, names them."""
        self._outputs[scenario_id] = {
            f"{step_number}.{call_number}": self._directory.keep(reply.output)
            for step_number, step in enumerate(trace.steps)
            for call_number, reply in enumerate(step.replies)
            if reply.output is not None
        }

    def keep_outputs(self, scenario_id: str, outputs: Mapping[str, bytes]) -> None:
        """Store outputs, by step and call; the record, which follows, names them."""
        kept = {at: self._directory.keep(content) for at, content in outputs.items()}
        self._outputs[scenario_id] = kept

    def lost(self, scenario_ids: Sequence[str], where: str) -> None:
        """Write to the disk that a machine was lost while it ran these."""
        self._journal.append(EntryType.LOST, {"scenarios": list(scenario_ids), "where": where})
        self._journal.sync()

    def passed(self, scenario_id: str, trace: Trace) -> None:
        """Discard it: what passed is as predicted."""

    def record(self, record: ScenarioRecord) -> None:
        """Write a scenario's record."""
        entry: dict[str, Any] = {"record": record_to_json(record)}
        if outputs := self._outputs.pop(record.id, None):
            entry["outputs"] = outputs
        self._journal.append(EntryType.RESULT, entry)

    def finish(self, ending: Ending, not_completed: Iterable[str], notes: Iterable[str]) -> None:
        """Write the end of the attempt.

        :param notes: further notes for a reader of the run
        """
        entry = {
            "complete": ending is Ending.COMPLETE,
            "not_completed": list(not_completed),
            "notes": list(notes),
            "time": now(),
        }
        self._journal.append(EntryType.END, entry)
        self._journal.sync()

    def _intent(self, scenario_ids: Sequence[str], entry: Mapping[str, Any]) -> None:
        self._batch += 1
        content = {"batch": self._batch, "scenarios": list(scenario_ids), **entry}
        self._journal.append(EntryType.INTENT, content)
        self._journal.sync()
        if self._risk is Risk.REAL:
            fatal = "may be fatal: " if entry["goes_on"] else ""
            mark(f"batch {self._batch}: {fatal}{' '.join(scenario_ids)}")
