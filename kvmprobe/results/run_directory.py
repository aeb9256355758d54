"""A run's directory: ``journal.jsonl``, and ``payloads/`` named by the SHA-256 of their content.

The journal is the run; everything derived from it (reports, the index) can be made again.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kvmprobe.errors import RunDirectoryError, UsageError
from kvmprobe.results.durable import write_whole
from kvmprobe.results.journal import Journal, begun_name, read_entries, write_failure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

JOURNAL = "journal.jsonl"
PAYLOADS = "payloads"
_NAME = re.compile("[0-9a-f]{64}")


def runs_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where runs are kept: ``kvmprobe/runs`` under $XDG_STATE_HOME, else ~/.local/state.

    :raises UsageError: neither is set, and this user has no home directory
    :see: XDG Base Directory Specification: a relative XDG_STATE_HOME is ignored
    """
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        state = Path(environ.get("HOME") or _home()) / ".local" / "state"
    return state / "kvmprobe" / "runs"


def _home() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError as error:
        raise UsageError(
            "no home directory to keep runs in: set HOME or XDG_STATE_HOME, or give --out DIR"
        ) from error


def is_run_directory(path: Path) -> bool:
    """Return True if a run was written there."""
    return os.path.isfile(path / JOURNAL)  # noqa: PTH113 - Path's raises where it may not look


def no_run(path: Path) -> str:
    """Return the error message for a path that is no run directory or cannot be accessed."""
    try:
        (path / JOURNAL).stat()
    except PermissionError as error:
        return f"{path / JOURNAL}: {error.strerror}"
    except OSError:
        pass
    return (
        f"{path}: not a run directory (it has no {JOURNAL}); "
        "`kvmprobe runs` lists the directories of runs"
    )


class RunDirectory:
    """One run's directory, open for writing by this process.

    :ivar path: absolute
    """

    def __init__(self, path: Path, journal: Journal) -> None:
        self.path = path
        self.journal = journal

    @classmethod
    def create(cls, path: Path, begin: Mapping[str, Any]) -> Self:
        """Make a new one.

        :param begin: the journal's first entry
        :raises UsageError: something is there already, or it cannot be made
        """
        path = path.resolve()
        journal = path / JOURNAL
        try:
            path.mkdir(parents=True, exist_ok=True)
            there = {name.name for name in path.iterdir()} - {begun_name(journal)}
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}; --out DIR takes another place") from error
        if there:
            raise UsageError(
                f"{path}: not empty, and runs are never overwritten; "
                f"`kvmprobe resume {path}` continues a run"
            )
        return cls(path, Journal.begin(journal, begin))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing one to go on with it.

        :raises UsageError: no run was written there
        :raises RunDirectoryError: another process writes it
        """
        if not is_run_directory(path):
            raise UsageError(no_run(path))
        path = path.resolve()
        return cls(path, Journal(path / JOURNAL))

    def entries(self) -> list[dict[str, Any]]:
        """Return what the journal says.

        :raises UsageError: it is not a journal
        """
        return read_entries(self.path / JOURNAL)

    def keep(self, content: bytes) -> str:
        """Store a payload on the disk, once; returns its SHA-256 in hexadecimal.

        :raises RunDirectoryError: it cannot be written; nothing of it is left
        """
        name = hashlib.sha256(content).hexdigest()
        folder = self.path / PAYLOADS / name[:2]
        final = folder / name
        if final.exists():
            return name
        scratch = folder / f".{name}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(final, scratch, content)
        except OSError as error:
            raise RunDirectoryError(write_failure(final, error, self.path)) from error
        return name

    def close(self) -> None:
        """Let others write it."""
        self.journal.close()


def payload(path: Path, name: str) -> bytes:
    """Return a payload's content.

    :param path: the run directory
    :raises UsageError: it is not there, or is not what was stored
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{path / JOURNAL}: {name!r:.80} is no name of a payload")
    file = path / PAYLOADS / name[:2] / name
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise UsageError(f"{file}: not a regular file")
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != name:
        raise UsageError(f"{file}: its content is not that of its name: damaged")
    return content
