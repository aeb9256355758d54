"""The directory of a run: ``journal.jsonl``, and ``payloads/``, named by SHA-256 of the content.

Reports and the index are derived from the journal.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kvmprobe.errors import RunDirectoryError, UsageError
from kvmprobe.results.durable import scratch_name, write_whole
from kvmprobe.results.journal import Journal, read_entries, write_failure
from kvmprobe.results.private import require_private

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

JOURNAL = "journal.jsonl"
PAYLOADS = "payloads"
_NAME = re.compile("[0-9a-f]{64}")
_INSTEAD = "run as that user, or give it to root with chown and chmod go-w"


def runs_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of runs: ``kvmprobe/runs`` in $XDG_STATE_HOME or ~/.local/state.

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
    """Return True if the path is the directory of a run."""
    return os.path.isfile(path / JOURNAL)  # noqa: PTH113 - Path.is_file raises PermissionError


def no_run(path: Path) -> str:
    """Return the error message for a path that is not a run directory or cannot be read."""
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
    """The directory of a run, open for writing by this process.

    :ivar path: absolute
    """

    def __init__(self, path: Path, journal: Journal) -> None:
        self.path = path
        self.journal = journal

    @classmethod
    def create(cls, path: Path, begin: Mapping[str, Any]) -> Self:
        """Create a directory.

        :param begin: the first entry of the journal
        :raises UsageError: it is not empty, or it cannot be created; or this is root, and another
            user can write it
        """
        require_private(path, _INSTEAD)
        path = path.resolve()
        try:
            path.mkdir(parents=True, exist_ok=True)
            with _locked(path):
                if {name.name for name in path.iterdir()} - {scratch_name(JOURNAL)}:
                    raise UsageError(
                        f"{path}: not empty, and runs are never overwritten; "
                        f"`kvmprobe resume {path}` continues a run"
                    )
                return cls(path, Journal.begin(path / JOURNAL, begin))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}; choose another with --out DIR") from error

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing directory to continue the run.

        :raises UsageError: it is not a run directory; or this is root, and another user can write
            it
        :raises RunDirectoryError: another process is writing it
        """
        if not is_run_directory(path):
            raise UsageError(no_run(path))
        require_private(path, _INSTEAD)
        path = path.resolve()
        return cls(path, Journal(path / JOURNAL))

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of the journal.

        :raises UsageError: it is not a journal
        """
        return read_entries(self.path / JOURNAL)

    def keep(self, content: bytes) -> str:
        """Store a payload on the disk, unless it is there; return its SHA-256 in hexadecimal.

        :raises RunDirectoryError: it cannot be written; nothing is left
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
        """Close the journal, so that another process can write it."""
        self.journal.close()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let no other process begin a run in a directory at the same time."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def payload(path: Path, name: str) -> bytes:
    """Return the content of a payload.

    :param path: the run directory
    :raises UsageError: it is missing or damaged
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{path / JOURNAL}: {name!r:.80} is not the name of a payload")
    file = path / PAYLOADS / name[:2] / name
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise UsageError(f"{file}: not a regular file")
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != name:
        raise UsageError(f"{file}: damaged: its SHA-256 is not its name")
    return content
