"""The user's cache directory: folders, locks between processes, atomic publishing.

A result gets its final name by one rename(), so an interrupted build is never taken for a complete
one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import NoSpace, UsageError, errno_name
from kvmprobe.results.private import require_private

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.progress import Progress

ELSEWHERE = "free some space, or set KVMPROBE_CACHE to a directory on a larger file system"
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading JSON of the cache raises if it is damaged."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Cache:
    """A cache directory, shared by all kvmprobe processes of the user."""

    def __init__(self, root: Path) -> None:
        """Use ``root``, which need not exist."""
        self.root = root

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Cache:
        """Choose $KVMPROBE_CACHE, else $XDG_CACHE_HOME/kvmprobe, else ~/.cache/kvmprobe.

        :raises UsageError: none of them is set and there is no home directory; or this is root,
            and another user can write it: programs and kernels in it are run
        :see: XDG Base Directory Specification: a relative XDG_CACHE_HOME is ignored
        """
        cache = cls(_root(environ))
        for path in (cache.root, *cache.root.glob("*/")):
            require_private(path, "remove it, or set KVMPROBE_CACHE to a directory of root's")
        return cache

    def folder(self, *names: str) -> Path:
        """Return the sub-folder, created if missing.

        :raises UsageError: the cache cannot be written
        :raises NoSpace: the file system is full
        """
        path = self.root.joinpath(*names)
        try:
            with disk_full_as_no_space(path, "a folder of the cache"):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot create {path}: {errno_name(error.errno or 0)}: {error.strerror}; "
                "set KVMPROBE_CACHE to a directory that you can write to"
            ) from error
        return path

    @contextmanager
    def locked(self, name: str, progress: Progress) -> Iterator[None]:
        """Hold the lock ``name``, which says what is built; wait if another process has it.

        The kernel releases the lock when its holder dies.  The pid in the file is only for the
        message.  Not re-entrant: a second entry in the same process waits.
        """
        path = self.folder("locks") / f"{_as_file_name(name)}.lock"
        with self._opened(path) as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = path.read_text(encoding="ascii", errors="replace").strip() or "unknown"
                progress.stage(
                    f"waiting for another kvmprobe (pid {pid}), which is building {name}"
                )
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            with disk_full_as_no_space(path, "a lock file"):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
            yield

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield an empty directory on the cache's file system, and remove it at the end.

        Directories of processes that died are removed first.
        """
        parent = self.folder("tmp")
        with self._opened(self.folder("locks") / "tmp.lock") as guard:
            # ORDER: lock the new directory before another process may look for stale ones.
            fcntl.flock(guard, fcntl.LOCK_EX)
            _remove_stale(parent)
            with disk_full_as_no_space(parent, "a temporary directory"):
                work = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
            lock = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
            os.close(lock)

    def publish(self, item: Path, final: Path) -> None:
        """Move a finished file or directory from a scratch directory to its final name.

        An older file is replaced; an older directory is moved into the scratch directory and
        removed with it.
        """
        final.parent.mkdir(parents=True, exist_ok=True)
        files = [item] if item.is_file() else [f for f in item.rglob("*") if f.is_file()]
        for file in files:
            _flush(file)
        if final.is_dir():
            final.rename(Path(tempfile.mkdtemp(prefix="replaced-", dir=item.parent)) / "old")
        item.replace(final)

    @contextmanager
    def _opened(self, path: Path) -> Iterator[int]:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {errno_name(error.errno or 0)}") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _root(environ: Mapping[str, str]) -> Path:
    if named := environ.get("KVMPROBE_CACHE"):
        return Path(named).expanduser().absolute()
    xdg = Path(environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():
        return xdg / "kvmprobe"
    if home := environ.get("HOME"):
        return Path(home) / ".cache" / "kvmprobe"
    try:
        return Path.home() / ".cache" / "kvmprobe"
    except RuntimeError as error:
        raise UsageError("no home directory for the cache: set KVMPROBE_CACHE") from error


def require_space(path: Path, nbytes: int, purpose: str) -> None:
    """Check that ``nbytes`` bytes are free where ``path`` is or will be.

    :raises NoSpace: less is free
    """
    existing = path
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < nbytes:
        raise NoSpace(
            f"{purpose} needs {nbytes / 1e6:.0f} MB in {path}, "
            f"only {free / 1e6:.0f} MB are free: {ELSEWHERE}"
        )


@contextmanager
def disk_full_as_no_space(path: Path, purpose: str) -> Iterator[None]:
    """Convert ENOSPC and EDQUOT into NoSpace, which names ``path`` and ``purpose``."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise NoSpace(
            f"{path}: {errno_name(error.errno or 0)} while writing {purpose}: {ELSEWHERE}"
        ) from error


def _remove_stale(parent: Path) -> None:
    for entry in parent.iterdir():
        try:
            descriptor = os.open(entry, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(entry, ignore_errors=True)
        except BlockingIOError:
            pass  # its owner is running
        finally:
            os.close(descriptor)


def _flush(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _as_file_name(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", name)
