"""What a run's journal says: what has a record, and what was open when the host went down.

A scenario is *open* where an intent names it and neither a record nor a hold follows.  If the next
attempt began in another boot, the host went down with it, and it is a *suspect*.  Alone in its
batch it is to blame; of several, each has to be run again alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import ScenarioError
from kvmprobe.results.codec import check_members, from_json
from kvmprobe.results.journal import EntryType
from kvmprobe.results.record import Target
from kvmprobe.results.record_json import record_from_json
from kvmprobe.scenarios.ops import Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmprobe.results.record import ScenarioRecord

    Entry = Mapping[str, Any]

_OP: Any = Op | None
_STRINGS: Any = tuple[str, ...]
# Of all entries; a name has one type wherever it occurs.
_MEMBERS: Mapping[str, Any] = {
    **dict.fromkeys(("tool", "run_id", "time", "boot_id", "directory", "facts"), str),
    **dict.fromkeys(
        ("command", "argv", "planned", "scenarios", "not_completed", "notes"), _STRINGS
    ),
    **dict.fromkeys(("real", "goes_on", "complete"), bool),
}


@dataclass(frozen=True, slots=True)
class HostCrash:
    """The host went down while this scenario was open.

    :ivar alone: nothing else was
    :ivar foreseen: it had been let go on to a load that was known to be fatal
    :ivar boot_id: of the boot that ended
    """

    target: Target
    alone: bool
    foreseen: bool
    boot_id: str


@dataclass(frozen=True, slots=True)
class Held:
    """What a scenario had shown when it was stopped before a fatal load, the op ``before``."""

    record: ScenarioRecord
    before: Op | None


@dataclass
class History:
    """All attempts at one run.

    :ivar begin: the first attempt's entry
    :ivar last_begin: the last attempt's
    :ivar end: the last attempt's end entry, or None where it came to none
    :ivar attempts: how many there were
    :ivar records: the last one of each scenario on each target
    :ivar held: the scenarios that were stopped before a fatal load
    :ivar outputs: of each record, hashes of what was read: by step and call, ``3.0``
    :ivar facts: of each target, the hash of the facts from its worker
    :ivar host_crashes: of each suspect, in order
    :ivar ended_boots: boot ids that are over, in order
    :ivar covered: coverage of a kernel was measured
    """

    begin: Entry
    last_begin: Entry
    end: Entry | None = None
    attempts: int = 0
    records: dict[tuple[Target, str], ScenarioRecord] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    outputs: dict[tuple[Target, str], dict[str, str]] = field(default_factory=dict)
    facts: dict[Target, str] = field(default_factory=dict)
    host_crashes: dict[str, list[HostCrash]] = field(default_factory=dict)
    ended_boots: list[str] = field(default_factory=list)
    covered: bool = False

    @classmethod
    def of(cls, entries: Iterable[Entry], boot_id: str | None = None) -> History:
        """Return what the entries come to.

        :param boot_id: of the boot that looks at them; None where that does not matter
        :raises ScenarioError: an entry is not well-formed
        """
        reading = _Reading()
        try:
            for entry in entries:
                reading.take(entry)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ScenarioError(f"an entry of the journal is not well-formed: {error!r}") from error
        if boot_id is not None:
            reading.new_boot(boot_id)
        return reading.history

    @property
    def planned(self) -> tuple[str, ...]:
        """Ids of all scenarios that should have a record."""
        return tuple(self.begin["planned"])

    @property
    def not_completed(self) -> tuple[str, ...]:
        """Ids of those that have none."""
        recorded = {scenario_id for _, scenario_id in self.records}
        return tuple(i for i in self.planned if i not in recorded)

    @property
    def suspects(self) -> dict[str, list[HostCrash]]:
        """Host crashes of the scenarios that have no record yet."""
        left = set(self.not_completed)
        return {i: crashes for i, crashes in self.host_crashes.items() if i in left}


class _Reading:
    """A journal, entry by entry."""

    def __init__(self) -> None:
        self.history = History({}, {})
        self._boot_id = ""
        self._place: Target | None = None
        self._real = False
        self._targets: dict[tuple[str, str], Target] = {}
        self._open: dict[str, HostCrash] = {}

    def take(self, entry: Entry) -> None:
        check_members(entry, _MEMBERS)
        match EntryType(entry["type"]):
            case EntryType.BEGIN:
                self._begin(entry)
            case EntryType.PLACE:
                self._place = from_json(Target, entry["target"], "$.target")
                self._targets[self._place.kind, self._place.kernel] = self._place
                self._real = entry["real"]
                self.history.facts[self._place] = entry["facts"]
            case EntryType.INTENT:
                self._intend(entry)
            case EntryType.GATED:
                record = self._record(entry["record"])
                self._open.pop(record.id, None)
                self.history.held[record.id] = Held(
                    record, from_json(_OP, entry["before"], "$.before")
                )
            case EntryType.RESULT:
                record = self._record(entry["record"])
                self._open.pop(record.id, None)
                self.history.records[record.target, record.id] = record
                self.history.outputs[record.target, record.id] = dict(entry.get("outputs", {}))
            case EntryType.WATCHED:
                self.history.covered = True
            case EntryType.REACHED:
                pass  # coverage.of_run reads them
            case EntryType.END:
                self._open.clear()
                self.history.end = entry

    def new_boot(self, boot_id: str) -> None:
        """Blame what was open in another boot; in the same one, only the process had ended."""
        if self._boot_id and boot_id != self._boot_id:
            self.history.ended_boots.append(self._boot_id)
            for scenario_id, host_crash in self._open.items():
                self.history.host_crashes.setdefault(scenario_id, []).append(host_crash)
        self._open.clear()
        self._boot_id = boot_id

    def _begin(self, entry: Entry) -> None:
        self.new_boot(entry["boot_id"])
        if not self.history.begin:
            entry["planned"]
        self.history.begin = self.history.begin or entry
        self.history.last_begin = entry
        self.history.attempts += 1
        self.history.end = None

    def _intend(self, entry: Entry) -> None:
        if not self._real or self._place is None:
            return
        alone = len(entry["scenarios"]) == 1
        for scenario_id in entry["scenarios"]:
            self._open[scenario_id] = HostCrash(self._place, alone, entry["goes_on"], self._boot_id)

    def _record(self, data: Mapping[str, Any]) -> ScenarioRecord:
        target = self._targets.get((data["target"], data["kernel"]))
        return record_from_json(data, target.source if target else "")
