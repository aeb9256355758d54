"""The append-only journal of a run: each entry is a line of JSON.

The journal is valid up to its last complete line.  The ``type`` of an entry is an
:class:`EntryType`.  An *attempt* is the work of one process on the run; it begins with a ``begin``
entry.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from kvmprobe.errors import RunDirectoryError, UsageError
from kvmprobe.results.durable import scratch_name, write_all, write_whole
from kvmprobe.results.schema import JOURNAL, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_to_json = json.JSONEncoder(separators=(",", ":")).encode


class EntryType(Enum):
    """The types of entries."""

    BEGIN = "begin"
    """The start of an attempt: schema, run id, tool, command, boot id, time, planned ids."""
    PLACE = "place"
    """A target was probed: its identity, whether a crash is real, the hash of its facts."""
    INTENT = "intent"
    """These scenarios are about to run; with ``goes_on`` they may make a fatal load."""
    GATED = "held"
    """A scenario was stopped before a fatal load: its record until then."""
    RESULT = "result"
    """The record of a scenario, and the hashes of the outputs if it did not pass."""
    WATCHED = "watched"
    """Coverage of the kernel is measured from here on: the hash of the functions in scope."""
    REACHED = "reached"
    """Which basic blocks of these functions a scenario reached; there may be several for one."""
    GROWTH = "growth"
    """What a search had done and reached at one moment: its strategy, and a :class:`Point`."""
    LOST = "lost"
    """These scenarios were running on a machine of a fleet that is lost."""
    END = "end"
    """The attempt ended by itself."""


# These entries and all earlier ones are on the disk before the next entry is written.
_FLUSHED = tuple(
    f'{{"type":"{kind.value}"'.encode()
    for kind in (EntryType.BEGIN, EntryType.INTENT, EntryType.END)
)


class Journal:
    """The file, open for appending by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open a journal to append to it; remove lines that a kill or a panic left incomplete.

        :raises RunDirectoryError: another process is writing it, or it cannot be opened
        :raises UsageError: it is not a journal, or is damaged
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
            reason = "is a symbolic link, and is not written" if link else error.strerror
            raise RunDirectoryError(f"{path}: {reason}") from error
        except UsageError:
            self.close()
            raise

    @classmethod
    def begin(cls, path: Path, content: Mapping[str, Any]) -> Self:
        """Create a journal with its first entry.

        :raises RunDirectoryError: it cannot be created
        """
        scratch = path.with_name(scratch_name(path.name))
        first = {"type": EntryType.BEGIN.value, "schema": JOURNAL, **content}
        try:
            write_whole(path, scratch, _to_json(first).encode() + b"\n")
        except OSError as error:
            raise RunDirectoryError(f"{path}: {error.strerror}") from error
        return cls(path)

    def append(self, kind: EntryType, content: Mapping[str, Any]) -> None:
        """Add an entry; it survives this process, and after :meth:`sync` a crash of the host.

        :raises RunDirectoryError: it cannot be written, and nothing of it is left
        """
        line = _to_json({"type": kind.value, **content}).encode() + b"\n"
        try:
            write_all(self._fd, line, self._end)
        except OSError as error:
            os.ftruncate(self._fd, self._end)
            raise RunDirectoryError(write_failure(self._path, error, self._path.parent)) from error
        self._end += len(line)

    def sync(self) -> None:
        """Flush all entries to the disk.

        :raises RunDirectoryError: they cannot be written
        """
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise RunDirectoryError(write_failure(self._path, error, self._path.parent)) from error

    def close(self) -> None:
        """Close the file, so that another process can write it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def write_failure(file: Path, error: OSError, run: Path) -> str:
    """Return the error message for a file of a run that could not be written."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    todo = "make room, then" if full else "repair it, then"
    return f"{file}: {error.strerror}; earlier entries are kept; {todo} `kvmprobe resume {run}`"


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Return the entries, without a last one that was not written completely.

    :raises UsageError: the file cannot be read, is not a journal, or is damaged
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
                raise UsageError(f"{where}: not an entry of a journal: {error!s:.200}") from error
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
    """Return True if the line at that offset may be incomplete because the host crashed.

    Pages reach the disk in any order, so complete lines may follow it, but not after one that was
    flushed.
    """
    line, _, rest = content[offset:].partition(b"\n")
    flushed = min((i for f in _FLUSHED if (i := rest.find(f)) >= 0), default=len(rest))
    return b"\0" in line and not rest[flushed:].partition(b"\n")[2]
