"""Kernel settings changed for a run that nobody watches, and restored afterwards.

What is changed, and what it was, stands in a file before anything is changed: if we are killed,
whoever comes next restores it.  A reboot restores by itself; the file's boot id tells.  A lock on
the file, which the kernel frees when its holder dies, tells a killed run from one that goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kvmprobe.errors import Unavailable
from kvmprobe.host.files import HostFiles
from kvmprobe.host.settings import Change, changes_for, denied, number, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# A reboot clears this directory, and the settings.
STATE_FILE = Path("/run/kvmprobe/armed.json")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Armed:
    """What a run changed: the state file's content."""

    pid: int
    boot_id: str
    changes: tuple[Change, ...]


@contextmanager
def armed(
    wanted: Mapping[str, int] | None,
    tell: Callable[[str], None],
    state_file: Path = STATE_FILE,
    files: HostFiles | None = None,
) -> Iterator[tuple[Change, ...]]:
    """Restore what a killed run has left; then change settings, and restore them at the end.

    :param wanted: values by ``sysctl`` name; None leaves all as they are
    :param tell: takes a line for each change and for each restoration
    :raises Unavailable: ``busy``: another run is armed; ``not_root``: they cannot be written
    :raises UsageError: this kernel has no such setting, or refuses the value
    """
    files = files or HostFiles()
    try:
        disarm(tell, state_file, files)
    except Unavailable as reason:
        if wanted:
            raise
        tell(f"settings that a killed run has left are not restored: {reason}")
    if not wanted:
        yield ()
        return
    changes: tuple[Change, ...] = ()
    with _locked(state_file) as file:
        try:
            # ORDER: under the lock, so that no value of another run's is taken for the host's own.
            changes = changes_for(files, wanted)
            _write(file, Armed(os.getpid(), files.boot_id(), changes))
            for change in changes:
                put(files, change.name, change.after)
                tell(f"armed: {change}")
            yield changes
        finally:
            with _undisturbed():
                _restore(files, changes, tell)
                state_file.unlink()


def disarm(
    tell: Callable[[str], None],
    state_file: Path = STATE_FILE,
    files: HostFiles | None = None,
) -> tuple[Change, ...]:
    """Restore what a killed run has left; return what that was, nothing if it still goes on.

    A setting that by now has another value than the run gave it is somebody else's, and stays.

    :raises Unavailable: ``not_root``
    """
    files = files or HostFiles()
    left = leftover(state_file, files)
    if left is None:
        return ()
    with _locked(state_file), _undisturbed():
        _restore(files, left.changes, tell)
        state_file.unlink()
    return left.changes


def leftover(state_file: Path = STATE_FILE, files: HostFiles | None = None) -> Armed | None:
    """Return what a run in this boot changed and did not restore; None if it still goes on."""
    try:
        with state_file.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            content = json.load(file)
        changes = tuple(Change(**change) for change in content["changes"])
        left = Armed(content["pid"], content["boot_id"], changes)
    except (OSError, ValueError, KeyError, TypeError):
        # No file, locked by its owner, or not written to its end: then nothing had been changed.
        return None
    now = (files or HostFiles()).boot_id()
    return left if left.boot_id == now else None


def _restore(files: HostFiles, changes: tuple[Change, ...], tell: Callable[[str], None]) -> None:
    for change in reversed(changes):
        now = number(files, change.name)
        if now == change.after:
            put(files, change.name, change.before)
            tell(f"restored: {change.name}={change.before}")
        elif now != change.before:
            tell(f"left alone: {change.name}={now}, which somebody else has set meanwhile")


@contextmanager
def _locked(state_file: Path) -> Iterator[IO[str]]:
    """Open and lock the state file, made if missing.

    :raises Unavailable: ``busy``, ``not_root``
    """
    try:
        state_file.parent.mkdir(parents=True, exist_ok=True)
        file = state_file.open("a+")
    except OSError as error:
        raise denied(f"write {state_file}", error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = state_file.stat()
        except (BlockingIOError, FileNotFoundError) as error:
            raise _busy(state_file) from error
        if not os.path.samestat(there, os.fstat(file.fileno())):
            raise _busy(state_file)
        yield file


def _busy(state_file: Path) -> Unavailable:
    # Also where its owner has removed it since we opened it, just now.
    return Unavailable("busy", f"--arm: another kvmprobe has armed this host ({state_file})")


def _write(file: IO[str], state: Armed) -> None:
    """Have the state on disk before anything is changed."""
    file.seek(0)
    file.truncate()
    json.dump(asdict(state), file)
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the signals that end a run for later: half a restoration is none."""
    # No mask: it would hold for this thread, and Python runs handlers for the others' signals here.
    late: list[int] = []
    before = {nr: signal.signal(nr, lambda number, _: late.append(number)) for nr in _SIGNALS}
    try:
        yield
    finally:
        for nr, handler in before.items():
            signal.signal(nr, handler)
    for first in late[:1]:
        signal.raise_signal(first)
