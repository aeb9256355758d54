"""The history of a run from its journal: which scenarios have records, which were open at a crash.

A scenario is *open* after an entry that says that it is about to run, until its result, or until it
was stopped at the gate.  If the next attempt began in another boot, the host crashed while the
scenario was open, and the scenario is a *suspect*.  If it was alone in its batch, it is to blame;
if not, each scenario of the batch has to run again alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import ScenarioError
from kvmprobe.results.codec import check_members, from_json
from kvmprobe.results.growth import Growth, Point, Strategy
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
# The members of all entries; a name has the same type in each.
_MEMBERS: Mapping[str, Any] = {
    **dict.fromkeys(("tool", "run_id", "time", "boot_id", "directory", "facts"), str),
    **dict.fromkeys(
        ("command", "argv", "planned", "scenarios", "not_completed", "notes"), _STRINGS
    ),
    **dict.fromkeys(("real", "goes_on", "complete"), bool),
}


@dataclass(frozen=True, slots=True)
class HostCrash:
    """The host crashed while this scenario was open.

    :ivar alone: no other scenario was open
    :ivar foreseen: it was allowed to continue to a load that was predicted to be fatal
    :ivar boot_id: the boot that ended
    """

    target: Target
    alone: bool
    foreseen: bool
    boot_id: str


@dataclass(frozen=True, slots=True)
class Gated:
    """A scenario that was stopped before a fatal load, which is the op ``before``.

    :ivar record: the results until then
    """

    record: ScenarioRecord
    before: Op | None


@dataclass
class History:
    """All attempts at one run.

    :ivar begin: the begin entry of the first attempt
    :ivar last_begin: the begin entry of the last attempt
    :ivar end: the end entry of the last attempt; None if the attempt did not write one
    :ivar planned: ids of all scenarios that should get a record; later attempts can add some
    :ivar attempts: the number of attempts
    :ivar records: the last record of each scenario on each target
    :ivar gated: the scenarios that were stopped before a fatal load
    :ivar outputs: for each record, the hashes of the outputs, by step and call: ``3.0``
    :ivar facts: for each target, the hash of the facts that its worker reported
    :ivar real: those targets that are this host
    :ivar host_crashes: for each suspect, the crashes in order
    :ivar ended_boots: ids of the boots that ended, in order
    :ivar lost: how often a scenario was running on a machine of a fleet that was lost
    :ivar covered: whether coverage of a kernel was measured
    :ivar growth: of the search on each target, if the run is one
    """

    begin: Entry
    last_begin: Entry
    end: Entry | None = None
    planned: tuple[str, ...] = ()
    attempts: int = 0
    records: dict[tuple[Target, str], ScenarioRecord] = field(default_factory=dict)
    gated: dict[str, Gated] = field(default_factory=dict)
    outputs: dict[tuple[Target, str], dict[str, str]] = field(default_factory=dict)
    facts: dict[Target, str] = field(default_factory=dict)
    real: set[Target] = field(default_factory=set)
    host_crashes: dict[str, list[HostCrash]] = field(default_factory=dict)
    ended_boots: list[str] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    covered: bool = False
    growth: dict[Target, Growth] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry], boot_id: str | None = None) -> History:
        """Return the history that the entries describe.

        :param boot_id: the present boot; None if it does not matter
        :raises ScenarioError: an entry is malformed
        """
        reading = _Reading()
        try:
            for entry in entries:
                reading.take(entry)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ScenarioError(f"an entry of the journal is malformed: {error!r:.200}") from error
        if boot_id is not None:
            reading.new_boot(boot_id)
        return reading.history

    @property
    def not_completed(self) -> tuple[str, ...]:
        """Ids of the planned scenarios without a record."""
        recorded = {scenario_id for _, scenario_id in self.records}
        return tuple(i for i in self.planned if i not in recorded)

    @property
    def suspects(self) -> dict[str, list[HostCrash]]:
        """Host crashes of the scenarios that do not have a record yet."""
        left = set(self.not_completed)
        return {i: crashes for i, crashes in self.host_crashes.items() if i in left}


class _Reading:
    """Reads a journal entry by entry."""

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
                self._settle(from_json(Target, entry["target"], "$.target"), entry)
            case EntryType.INTENT:
                self._intend(entry)
            case EntryType.GATED:
                record = self._record(entry["record"])
                self._open.pop(record.id, None)
                before = from_json(_OP, entry["before"], "$.before")
                self.history.gated[record.id] = Gated(record, before)
            case EntryType.RESULT:
                record = self._record(entry["record"])
                self._open.pop(record.id, None)
                self.history.records[record.target, record.id] = record
                self.history.outputs[record.target, record.id] = dict(entry.get("outputs", {}))
            case EntryType.LOST:
                self.history.lost.update(entry["scenarios"])
            case EntryType.WATCHED | EntryType.REACHED:
                self.history.covered = True  # coverage.of_run reads the blocks
            case EntryType.GROWTH:
                self._grow(entry)
            case EntryType.END:
                self._open.clear()
                self.history.end = entry

    def new_boot(self, boot_id: str) -> None:
        """Blame scenarios that were open in another boot; in the same one the process ended."""
        if self._boot_id and boot_id != self._boot_id:
            self.history.ended_boots.append(self._boot_id)
            for scenario_id, host_crash in self._open.items():
                self.history.host_crashes.setdefault(scenario_id, []).append(host_crash)
        self._open.clear()
        self._boot_id = boot_id

    def _begin(self, entry: Entry) -> None:
        self.new_boot(entry["boot_id"])
        planned = entry.get("planned", ()) if self.history.begin else entry["planned"]
        self.history.planned = tuple(dict.fromkeys((*self.history.planned, *planned)))
        self.history.begin = self.history.begin or entry
        self.history.last_begin = entry
        self.history.attempts += 1
        self.history.end = None

    def _settle(self, place: Target, entry: Entry) -> None:
        self._place = place
        self._targets[place.kind, place.kernel] = place
        self._real = entry["real"]
        self.history.facts[place] = entry["facts"]
        if self._real:
            self.history.real.add(place)

    def _intend(self, entry: Entry) -> None:
        if not self._real or self._place is None:
            return
        alone = len(entry["scenarios"]) == 1
        for scenario_id in entry["scenarios"]:
            self._open[scenario_id] = HostCrash(self._place, alone, entry["goes_on"], self._boot_id)

    def _grow(self, entry: Entry) -> None:
        if self._place is not None:
            strategy = from_json(Strategy, entry["strategy"], "$.strategy")
            growth = self.history.growth.setdefault(self._place, Growth(strategy))
            growth.points.append(from_json(Point, entry["point"], "$.point"))

    def _record(self, data: Mapping[str, Any]) -> ScenarioRecord:
        target = self._targets.get((data["target"], data["kernel"]))
        return record_from_json(data, target.source if target else "")
