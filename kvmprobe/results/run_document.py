"""A run, read from its directory, from the JSON document or from JSON lines.

:mod:`kvmprobe.results.schema` has the names of the schemas.  A truncated file is read up to its
last complete line; the run is then *cut short*.

The document is an object with ``schema``, ``tool``, ``command``, ``scenarios`` (one record in each
line, as in :mod:`kvmprobe.results.record_json`), ``targets`` and ``summary``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import ScenarioError, UsageError
from kvmprobe.results.codec import check_members, from_json, wrong
from kvmprobe.results.history import History
from kvmprobe.results.journal import read_entries
from kvmprobe.results.record_json import record_from_json
from kvmprobe.results.run_directory import JOURNAL, is_run_directory, no_run, payload
from kvmprobe.results.schema import LINES, RUN, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from kvmprobe.results.growth import Growth
    from kvmprobe.results.record import ScenarioRecord, Target

# Without it, a run that was cut short could look as if everything had passed.
CUT_SHORT_ID = "cut-short"


class Ending(Enum):
    """How a run ended."""

    COMPLETE = "complete"
    CUT_SHORT = "cut short"


class LineType(Enum):
    """The types of JSON lines."""

    RUN = "run"
    SCENARIO = "scenario"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class RunDocument:
    """One run.

    :ivar tool: name and version of the program that wrote it
    :ivar command: its command line
    :ivar records: the last record of each scenario on each target, in the order of their first ones
    :ivar not_completed: ids that were planned and have no record, if the run recorded them
    :ivar name: name of its file or directory, or empty
    :ivar covered_in: directory of the run if coverage of a kernel was measured
    :ivar growth: of the search on each target, if it is a search
    :ivar run_id: a UUID, or empty
    :ivar began: time of the start, UTC, ISO 8601; empty if unknown
    :ivar ended: time of the end of the last attempt; empty if it did not end by itself
    :ivar attempts: number of attempts; 0 if unknown
    :ivar notes: notes for the reader of the run
    :ivar environments: JSON-ready data about each target: its worker's facts, and its kernel's
        ``behaviours``
    """

    tool: str
    command: tuple[str, ...]
    records: tuple[ScenarioRecord, ...] = ()
    not_completed: tuple[str, ...] = ()
    ending: Ending = Ending.COMPLETE
    name: str = field(default="", compare=False)
    run_id: str = ""
    began: str = ""
    ended: str = ""
    attempts: int = 0
    notes: tuple[str, ...] = ()
    environments: Mapping[Target, Mapping[str, Any]] = field(default_factory=dict)
    covered_in: Path | None = field(default=None, compare=False)
    growth: Mapping[Target, Growth] = field(default_factory=dict)

    @property
    def planned(self) -> list[str]:
        """Ids of all scenarios, with and without a record."""
        return [*(record.id for record in self.records), *self.not_completed]

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids without a record; if a run that was cut short has none, one id stands for them."""
        if self.ending is Ending.COMPLETE or self.not_completed:
            return self.not_completed
        return (CUT_SHORT_ID,)

    @property
    def targets(self) -> list[Target]:
        """The targets on which scenarios ran."""
        return list(dict.fromkeys(record.target for record in self.records))


def read_run(path: Path) -> RunDocument:
    """Read the directory or the file of a run, complete or cut short.

    :raises UsageError: it cannot be read, or is not a run
    """
    if path.is_dir():
        history = _history(path, read_entries)
        return _of_history(path, history, environments_of(path, history))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    try:
        # The file may end within a character; then its last line is incomplete, too.
        return replace(_parsed(content.decode("utf-8", "replace")), name=path.name)
    except ScenarioError as error:
        raise UsageError(f"{path}: {error}") from error


def read_outcomes(path: Path) -> RunDocument:
    """Read the directory of a run without steps and environments, in less than half the time.

    :raises UsageError: it cannot be read, or is not a run
    """
    return _of_history(path, _history(path, _entries_without_steps), {})


def _entries_without_steps(journal: Path) -> Iterator[dict[str, Any]]:
    for entry in read_entries(journal):
        if isinstance(record := entry.get("record"), dict):
            record["steps"] = record["ops"] = []
        yield entry


def _history(path: Path, entries_of: Callable[[Path], Iterable[dict[str, Any]]]) -> History:
    if not is_run_directory(path):
        raise UsageError(no_run(path))
    try:
        return History.of(entries_of(path / JOURNAL))
    except ScenarioError as error:
        raise UsageError(f"{path}: {error}") from error


def _of_history(
    path: Path, history: History, environments: Mapping[Target, Mapping[str, Any]]
) -> RunDocument:
    end = history.end or {}
    return replace(
        begun_run(history.begin, environments),
        records=tuple(history.records.values()),
        not_completed=history.not_completed,
        ending=Ending.COMPLETE if end.get("complete") else Ending.CUT_SHORT,
        name=path.resolve().name,
        covered_in=path if history.covered else None,
        growth=history.growth,
        ended=str(end.get("time", "")),
        attempts=history.attempts,
        notes=tuple(map(str, end.get("notes", ()))),
    )


def begun_run(
    begin: Mapping[str, Any], environments: Mapping[Target, Mapping[str, Any]]
) -> RunDocument:
    """Return a run without its records.

    :param begin: the first entry of its journal
    """
    return RunDocument(
        tool=str(begin.get("tool", "")),
        command=tuple(map(str, begin.get("command", ()))),
        run_id=str(begin.get("run_id", "")),
        began=str(begin.get("time", "")),
        environments=environments,
    )


def environments_of(path: Path, history: History) -> dict[Target, dict[str, Any]]:
    """Return the facts about the targets of a run.

    :param path: the run's directory
    :raises UsageError: it cannot be read
    """
    try:
        found = {t: json.loads(payload(path, name)) for t, name in history.facts.items()}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from error
    if not all(isinstance(facts, dict) for facts in found.values()):
        raise UsageError(f"{path}: the facts of a target are not a JSON object")
    return found


def run_of(
    head: Mapping[str, Any], records: Iterable[Mapping[str, Any]], tail: Mapping[str, Any] | None
) -> RunDocument:
    """Return the run with these records in JSON.

    :param head: ``tool`` and ``command``; perhaps ``targets``, which have the sources of kernels
    :param tail: ``complete`` and ``not_completed``; None if the run was cut short
    :raises ScenarioError: a record is malformed
    """
    check_members(head, _HEAD)
    check_members(tail or {}, _TAIL)
    sources = dict(_sources(head.get("targets", [])))
    latest: dict[tuple[Target, str], ScenarioRecord] = {}
    for data in records:
        if not isinstance(data, dict):
            raise wrong("$.scenarios", "expected records")
        record = record_from_json(data)
        target = record.target
        source = sources.get((target.kind, target.kernel), "")
        record = replace(record, target=replace(target, source=source))
        latest[record.target, record.id] = record
    seen = {record.id for record in latest.values()}
    left = tail.get("not_completed", ()) if tail else ()
    return RunDocument(
        tool=str(head.get("tool", "")),
        command=tuple(map(str, head.get("command", ()))),
        records=tuple(latest.values()),
        not_completed=tuple(scenario for scenario in left if scenario not in seen),
        ending=Ending.COMPLETE if tail and tail.get("complete") else Ending.CUT_SHORT,
    )


_STRINGS: Any = tuple[str, ...]
_HEAD: Mapping[str, Any] = {"tool": str, "command": _STRINGS}
_TAIL: Mapping[str, Any] = {"complete": bool, "not_completed": _STRINGS}


def _sources(targets: object) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the source of the kernel for each kind and release."""
    if not isinstance(targets, list) or not all(isinstance(t, dict) for t in targets):
        raise wrong("$.targets", "expected a list of objects")
    for number, target in enumerate(targets):
        kind, kernel, source = (
            from_json(str, target.get(name), f"$.targets[{number}].{name}")
            for name in ("kind", "kernel", "source")
        )
        yield (kind, kernel), source


@dataclass
class _Lines:
    """The parsed lines of a file."""

    head: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    tail: dict[str, Any] | None = None


def _parsed(text: str) -> RunDocument:
    first = _loaded(text.partition("\n")[0].removesuffix(",") + "}") or {}
    if first.get("schema") == RUN:
        whole = _loaded(text)
        found = _of_document(whole) if whole else _Lines(first, list(_whole_records(text)))
    elif (whole := _loaded(text)) and whole.get("schema") == RUN:
        found = _of_document(whole)
    else:
        found = _of_lines(text)
    return run_of(found.head, found.records, found.tail)


def _of_document(whole: dict[str, Any]) -> _Lines:
    records, tail = whole.get("scenarios", []), whole.get("summary")
    if not isinstance(records, list):
        raise wrong("$.scenarios", "expected records")
    if not isinstance(tail, dict | None):
        raise wrong("$.summary", "expected an object")
    return _Lines(whole, records, tail)


def _whole_records(text: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a truncated document, which has one in each line."""
    for line in text.splitlines():
        data = _loaded(line.removesuffix(","))
        if data and "id" in data:
            yield data


def _of_lines(text: str) -> _Lines:
    first, *others = text.splitlines() or [""]
    found = _Lines(_loaded(first) or {})
    if found.head.get("schema") != LINES:
        seen = [
            d.get("schema") for d in (found.head, _loaded(first[:-1] + "}"), _loaded(text)) if d
        ]
        raise ScenarioError(refusal(next(filter(None, seen), None), RUN, LINES))
    for data in filter(None, map(_loaded, others)):
        kind = data.get("type")
        if kind == LineType.RUN.value:
            raise ScenarioError("the file has several runs; write each to its own file")
        if kind == LineType.SCENARIO.value:
            target = {key: data.get(name) for key, name in _TARGET_OF_LINE.items()}
            found.head.setdefault("targets", []).append(target)
            found.records.append(data)
        elif kind == LineType.SUMMARY.value:
            found.tail = data
    return found


_TARGET_OF_LINE = {"kind": "target", "kernel": "kernel", "source": "source"}


def _loaded(text: str) -> dict[str, Any] | None:
    """Return a JSON object; None if the text is not one."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
