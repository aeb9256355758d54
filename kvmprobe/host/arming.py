"""``--arm``: sysctls changed for an unattended run, and restored afterwards.

The changes and the previous values are written to a file before any sysctl is changed.  If the run
is killed, the next one restores them from the file.  A reboot resets sysctls, so a file with
another boot id is ignored.  A running kvmprobe holds a lock on the file; the kernel releases it
when the process dies.
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
    """The content of the state file: what a run changed."""

    pid: int
    boot_id: str
    changes: tuple[Change, ...]


@contextmanager
def armed(
    wanted: Mapping[str, int] | None,
    report: Callable[[str], None],
    state_file: Path = STATE_FILE,
    files: HostFiles | None = None,
) -> Iterator[tuple[Change, ...]]:
    """Restore what a killed run changed; then change sysctls, and restore them on exit.

    :param wanted: values by ``sysctl`` name; None changes nothing
    :param report: called with a line for each change and each restoration
    :raises Unavailable: ``busy``: another run is armed; ``not_root``: sysctls cannot be written
    :raises UsageError: this kernel has no such sysctl, or refuses the value
    """
    files = files or HostFiles()
    try:
        disarm(report, state_file, files)
    except Unavailable as reason:
        if wanted:
            raise
        report(f"sysctls that a killed run changed are not restored: {reason}")
    if not wanted:
        yield ()
        return
    changes: tuple[Change, ...] = ()
    with _locked(state_file) as file:
        try:
            # ORDER: under the lock: another run's value must not be recorded as the previous one.
            changes = changes_for(files, wanted)
            _write(file, Armed(os.getpid(), files.boot_id(), changes))
            for change in changes:
                put(files, change.name, change.after)
                report(f"armed: {change}")
            yield changes
        finally:
            with _signals_deferred():
                _restore(files, changes, report)
                state_file.unlink()


def disarm(
    report: Callable[[str], None],
    state_file: Path = STATE_FILE,
    files: HostFiles | None = None,
) -> tuple[Change, ...]:
    """Restore what a killed run changed; return those changes, none if no run was killed.

    A sysctl that has a third value by now is not changed.

    :raises Unavailable: ``not_root``
    """
    files = files or HostFiles()
    left = unrestored(state_file, files)
    if left is None:
        return ()
    with _locked(state_file), _signals_deferred():
        _restore(files, left.changes, report)
        state_file.unlink()
    return left.changes


def unrestored(state_file: Path = STATE_FILE, files: HostFiles | None = None) -> Armed | None:
    """Return what a killed run changed since boot; None if there is no such run."""
    try:
        with state_file.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            content = json.load(file)
        changes = tuple(Change(**change) for change in content["changes"])
        left = Armed(content["pid"], content["boot_id"], changes)
    except (OSError, ValueError, KeyError, TypeError):
        # No file, locked by a running kvmprobe, or incomplete: then no sysctl had been changed.
        return None
    now = (files or HostFiles()).boot_id()
    return left if left.boot_id == now else None


def _restore(files: HostFiles, changes: tuple[Change, ...], report: Callable[[str], None]) -> None:
    for change in reversed(changes):
        now = number(files, change.name)
        if now == change.after:
            put(files, change.name, change.before)
            report(f"restored: {change.name}={change.before}")
        elif now != change.before:
            report(f"not restored: {change.name}={now}, which another process has set")


@contextmanager
def _locked(state_file: Path) -> Iterator[IO[str]]:
    """Open and lock the state file, creating it if missing.

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
    # Also if its owner has removed it since we opened it.
    return Unavailable(
        "busy",
        f"--arm: another kvmprobe run has armed this host ({state_file}); wait until it ends",
    )


def _write(file: IO[str], state: Armed) -> None:
    """Write the state to disk."""
    file.seek(0)
    file.truncate()
    json.dump(asdict(state), file)
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Handle the signals that end a run after the block: every sysctl has to be restored."""
    # Not pthread_sigmask: it applies to this thread only, and another thread may get the signal.
    pending: list[int] = []
    before = {nr: signal.signal(nr, lambda number, _: pending.append(number)) for nr in _SIGNALS}
    try:
        yield
    finally:
        for nr, handler in before.items():
            signal.signal(nr, handler)
    for first in pending[:1]:
        signal.raise_signal(first)
