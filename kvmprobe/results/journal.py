"""The append-only journal of a run: one line of JSON an entry, valid up to the last whole line.

An entry's ``type`` is an :class:`EntryType`.  An *attempt* is one
process's work on the run: it begins with a ``begin`` entry and has the following ones.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from kvmprobe.errors import RunDirectoryError, UsageError
from kvmprobe.results.durable import write_all, write_whole
from kvmprobe.results.schema import JOURNAL, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_to_json = json.JSONEncoder(separators=(",", ":")).encode


class EntryType(Enum):
    """What a line says."""

    BEGIN = "begin"
    """An attempt begins: schema, run id, tool, command, boot id, time, planned ids."""
    PLACE = "place"
    """A target was probed: its identity, what a crash of it costs, its facts' hash."""
    INTENT = "intent"
    """These scenarios are about to run; ``goes_on`` where a fatal load may be made."""
    GATED = "held"
    """A scenario was stopped before a fatal load; what it showed so far."""
    RESULT = "result"
    """A scenario's record, and the hashes of what was read where it did not pass."""
    WATCHED = "watched"
    """Coverage of the kernel is measured from here on: the hash of the functions in scope."""
    REACHED = "reached"
    """Which basic blocks of these functions a scenario reached; there may be several for one."""
    END = "end"
    """The attempt ended by its own doing."""


# Each is on the disk, with all before it, before the next entry is written.
_FLUSHED = tuple(
    f'{{"type":"{kind.value}"'.encode()
    for kind in (EntryType.BEGIN, EntryType.INTENT, EntryType.END)
)


class Journal:
    """The file, open for appending by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open it to go on; what a killed writer or a panic left of lines is cut off.

        :raises RunDirectoryError: another process writes it, or it cannot be opened
        :raises UsageError: it is no journal, or is damaged
        """
        self._path = path
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _, self._end = _read(path)
            os.ftruncate(self._fd, self._end)
        except BlockingIOError as busy:
            self.close()
            raise RunDirectoryError(f"{path}: another kvmprobe is writing this run") from busy
        except OSError as error:
            self.close()
            link = error.errno == errno.ELOOP
            reason = "a symbolic link, which is not written" if link else error.strerror
            raise RunDirectoryError(f"{path}: {reason}") from error
        except UsageError:
            self.close()
            raise

    @classmethod
    def begin(cls, path: Path, content: Mapping[str, Any]) -> Self:
        """Make a new one; it is there with its first entry, or not at all.

        :raises RunDirectoryError: it cannot be made
        """
        scratch = path.with_name(begun_name(path))
        first = {"type": EntryType.BEGIN.value, "schema": JOURNAL, **content}
        try:
            write_whole(path, scratch, _to_json(first).encode() + b"\n")
        except OSError as error:
            raise RunDirectoryError(f"{path}: {error.strerror}") from error
        return cls(path)

    def append(self, kind: EntryType, content: Mapping[str, Any]) -> None:
        """Add an entry; it survives this process, and the host after :meth:`sync`.

        :raises RunDirectoryError: the file system is full, or fails; nothing of the entry is left
        """
        line = _to_json({"type": kind.value, **content}).encode() + b"\n"
        try:
            write_all(self._fd, line, self._end)
        except OSError as error:
            os.ftruncate(self._fd, self._end)
            raise RunDirectoryError(write_failure(self._path, error, self._path.parent)) from error
        self._end += len(line)

    def sync(self) -> None:
        """Have all entries on the disk.

        :raises RunDirectoryError: the disk does not take them
        """
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise RunDirectoryError(write_failure(self._path, error, self._path.parent)) from error

    def close(self) -> None:
        """Close the file, which lets others write it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def write_failure(file: Path, error: OSError, run: Path) -> str:
    """Return what to say of a file in a run's directory that could not be written."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    todo = "make room, then" if full else "when that is mended,"
    return f"{file}: {error.strerror}; all entries before are kept; {todo} `kvmprobe resume {run}`"


def begun_name(path: Path) -> str:
    """Return what a journal is called before it has its first entry."""
    return f".{path.name}.new"


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Return the entries; what was being written when writer or host died is not among them.

    :raises UsageError: the file cannot be read, or is no journal, or is damaged
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the entries, and the offset after the last one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    entries: list[dict[str, Any]] = []
    end = 0
    for line in content.split(b"\n")[:-1]:
        try:
            entries.append(_entry(line))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if not _torn(content, end):
                where = f"{path}:{len(entries) + 1}"
                raise UsageError(f"{where}: no entry of a journal: {error}") from error
            break
        end += len(line) + 1
    schema = entries[0].get("schema") if entries else None
    if schema != JOURNAL:
        raise UsageError(f"{path}: {refusal(schema, JOURNAL)}")
    return entries, end


def _entry(line: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(line)
    EntryType(entry["type"])
    return entry


def _torn(content: bytes, offset: int) -> bool:
    """Return True if the line there may have been on its way to the disk when the host went down.

    Pages get there in any order, so whole lines can follow, but none after one that was flushed.
    """
    line, _, rest = content[offset:].partition(b"\n")
    flushed = min((i for f in _FLUSHED if (i := rest.find(f)) >= 0), default=len(rest))
    return b"\0" in line and not rest[flushed:].partition(b"\n")[2]
