"""A SQLite index of run directories, for queries across runs.  It can be deleted at any time.

The table ``runs`` has a row for each run directory, ``records`` one for each scenario on a target;
users may query the file with SQL.  A run is read again if its journal has changed.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kvmprobe.errors import RunDirectoryError, UsageError
from kvmprobe.results.run_directory import JOURNAL, is_run_directory, no_run
from kvmprobe.results.run_document import Ending, read_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.results.run_document import RunDocument

INDEX = "index-3.sqlite"
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    path TEXT PRIMARY KEY, journal TEXT NOT NULL, run_id TEXT NOT NULL, tool TEXT NOT NULL,
    began TEXT NOT NULL, complete INTEGER NOT NULL, not_completed INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS records (
    path TEXT NOT NULL REFERENCES runs(path) ON DELETE CASCADE,
    target TEXT NOT NULL, kernel TEXT NOT NULL, variant TEXT NOT NULL,
    scenario TEXT NOT NULL, verdict TEXT NOT NULL,
    known TEXT NOT NULL, reason TEXT NOT NULL, duration REAL NOT NULL,
    PRIMARY KEY (path, target, kernel, scenario)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_scenario ON records (scenario, kernel);
"""
_RUNS = """
SELECT path, began, complete, not_completed, target, kernel, variant, verdict, COUNT(*)
FROM runs LEFT JOIN records USING (path)
GROUP BY path, target, kernel, variant, verdict
ORDER BY began, path, target, kernel, variant, verdict
"""
_RECORDS = """
SELECT scenario, kernel, variant, target, began, verdict, known, path
FROM records JOIN runs USING (path)
WHERE scenario GLOB ? AND kernel GLOB ? AND verdict GLOB ?
ORDER BY scenario, kernel, variant, target, began
"""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run on one target; ``counts`` has the number of records by verdict.

    :ivar variant: the options of the emulated host; empty for the default one
    """

    path: str
    began: str
    complete: bool
    not_completed: int
    target: str
    kernel: str
    variant: str
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One scenario of one run."""

    scenario: str
    kernel: str
    variant: str
    target: str
    began: str
    verdict: str
    known: tuple[str, ...]
    path: str


class Index:
    """The index of a directory of runs; a context manager.

    If this user may not write the directory, the index is built in memory each time.
    """

    def __init__(self, folder: Path) -> None:
        """Open or create the index.

        :raises RunDirectoryError: it cannot be created, or is not an index
        """
        self._folder = folder
        self.path = folder / INDEX
        try:
            self._base = sqlite3.connect(self.path if _writable(self.path) else ":memory:")
        except OSError as error:
            raise RunDirectoryError(f"{folder}: {error.strerror}") from error
        except sqlite3.Error as error:
            raise RunDirectoryError(f"{self.path}: {error}; it can be deleted") from error
        try:
            self._base.execute("PRAGMA foreign_keys = ON")
            # The index can be deleted, so a run need not wait for the disk.
            self._base.execute("PRAGMA synchronous = OFF")
            self._base.executescript(_SCHEMA)
        except sqlite3.Error as error:
            self._base.close()
            raise RunDirectoryError(f"{self.path}: {error}; it can be deleted") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._base.close()

    def refresh(self, others: Iterable[Path] = ()) -> list[str]:
        """Add new and changed runs, remove deleted ones; return an error for each unreadable run.

        :param others: run directories elsewhere; they stay in the index
        :raises RunDirectoryError: the index cannot be written
        """
        stamps = dict(self._base.execute("SELECT path, journal FROM runs"))
        named = [path.resolve() for path in others]
        paths = [*self._in_folder(), *map(Path, stamps), *named]
        complaints = [no_run(path) for path in named if not is_run_directory(path)]
        try:
            for path in dict.fromkeys(filter(is_run_directory, paths)):
                stamp = _stamp(path)
                stored = _stored(str(path))
                if stamps.pop(stored, None) == stamp:
                    continue
                try:
                    run = read_outcomes(path)
                except UsageError as error:
                    complaints.append(str(error))
                    continue
                # Reading takes most of the time; an interruption keeps what is done.
                with self._base:
                    self._take(stored, stamp, run)
            with self._base:
                self._base.executemany("DELETE FROM runs WHERE path = ?", [(p,) for p in stamps])
        except sqlite3.Error as error:
            raise RunDirectoryError(f"{self.path}: {error}") from error
        return complaints

    def runs(self) -> list[RunRow]:
        """Return all runs on all targets, oldest first."""
        rows: dict[tuple[str, str, str, str], RunRow] = {}
        for (
            path,
            began,
            complete,
            left,
            target,
            kernel,
            variant,
            verdict,
            count,
        ) in self._base.execute(_RUNS):
            place = (path, target or "", kernel or "", variant or "")
            empty = RunRow(path, began, bool(complete), left, *place[1:], {})
            row = rows.setdefault(place, empty)
            if verdict:
                row.counts[verdict] = count
        return list(rows.values())

    def records(
        self, scenario: str = "*", kernel: str = "*", verdict: str = "*"
    ) -> Iterator[RecordRow]:
        """Yield the records that match these globs, by scenario and kernel."""
        for row in self._base.execute(_RECORDS, (scenario, kernel, verdict)):
            found, ran_on, variant, target, began, result, known, path = row
            defects = tuple(json.loads(known))
            yield RecordRow(found, ran_on, variant, target, began, result, defects, path)

    def _in_folder(self) -> Iterator[Path]:
        """Yield what can be a run: what is in the folder, and below a matrix or a bisection."""
        for path in _listed(self._folder):
            yield path
            if not is_run_directory(path):
                yield from _listed(path)

    def _take(self, path: str, stamp: str, run: RunDocument) -> None:
        self._base.execute("DELETE FROM runs WHERE path = ?", (path,))
        complete = run.ending is Ending.COMPLETE
        begun = map(_stored, (run.run_id, run.tool, run.began))
        values = (path, stamp, *begun, complete, len(run.not_completed))
        self._base.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        self._base.executemany(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    path,
                    *map(_stored, (r.target.kind, r.target.kernel, r.target.variant.options)),
                    r.id,
                    r.verdict.value,
                    json.dumps(r.known),
                    _stored(r.reason),
                    r.duration,
                )
                for r in run.records
            ),
        )


def _stored(text: str) -> str:
    # Names of files, and JSON, can have half a surrogate pair, which UTF-8 cannot encode.
    return text.encode("utf-8", "backslashreplace").decode()


def _listed(path: Path) -> list[Path]:
    readable = os.path.isdir(path) and os.access(path, os.R_OK, effective_ids=True)  # noqa: PTH112
    return list(path.iterdir()) if readable else []


def _writable(index: Path) -> bool:
    """Create the directory; return True if it and an existing index can be written.

    :raises OSError: the path is not a directory, or the file system fails
    """
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in _FORBIDDEN:
            raise
        return False
    there = [path for path in (index.parent, index) if path.exists()]
    return all(os.access(path, os.W_OK, effective_ids=True) for path in there)


def _stamp(path: Path) -> str:
    status = (path / JOURNAL).stat()
    return f"{status.st_size} {status.st_mtime_ns}"
