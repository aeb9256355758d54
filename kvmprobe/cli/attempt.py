"""The directory of a run, for its first attempt and for later ones."""

from __future__ import annotations

import os
import sys
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmprobe import __version__
from kvmprobe.errors import ScenarioError, UsageError
from kvmprobe.execution.aftermath import past_of, settle
from kvmprobe.execution.journaling import Journaling, now, since_epoch
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.plan import NO_PAST, Past
from kvmprobe.host.files import HostFiles
from kvmprobe.host.pstore import last_panic
from kvmprobe.results.history import History
from kvmprobe.results.journal import EntryType
from kvmprobe.results.run_directory import JOURNAL, RunDirectory, runs_folder
from kvmprobe.results.run_document import begun_run, environments_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.run_document import RunDocument


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attempt starts with.

    :ivar begin: first entry of the journal
    :ivar planned: ids of all scenarios that should get a record
    :ivar earlier: records of earlier attempts
    :ivar blamed: records of scenarios that crashed this host, not in the journal yet
    :ivar temporary: the directory is removed after the command
    """

    directory: RunDirectory
    ledger: Journaling
    begin: Mapping[str, Any]
    planned: tuple[str, ...]
    earlier: tuple[ScenarioRecord, ...] = ()
    blamed: tuple[ScenarioRecord, ...] = ()
    past: Past = NO_PAST
    temporary: bool = False

    @property
    def outcome_lines(self) -> list[str]:
        """Where the run is kept, if it is."""
        return [] if self.temporary else [f"recorded in {self.path}"]

    @property
    def resume_command(self) -> str:
        """The command that continues the run; empty if there is none."""
        return f"kvmprobe resume {self.path}" if _is_run(self.begin) else ""

    @property
    def begun(self) -> RunDocument:
        """The run without its records."""
        begun = begun_run(self.begin, self.ledger.environments)
        return replace(begun, covered_in=self.path)

    @property
    def left(self) -> tuple[str, ...]:
        """Ids of the planned scenarios that are still to run."""
        recorded = {record.id for record in (*self.earlier, *self.blamed)}
        return tuple(name for name in self.planned if name not in recorded)

    @property
    def path(self) -> Path:
        """Where the run is."""
        return self.directory.path

    def close(self) -> None:
        """Release the lock on the directory."""
        self.directory.close()


def first_attempt(
    arguments: argparse.Namespace, planned: Sequence[str], path: Path | None
) -> Attempt:
    """Create the run's directory.

    :param path: where; None for a new one in the user's state directory
    :raises UsageError: it exists, or it cannot be created
    """
    run_id = str(uuid.uuid4())
    began = now()
    path = path or runs_folder() / f"{began.replace(':', '')}-{run_id[:8]}"
    begin = {
        "run_id": run_id,
        **_this_attempt(began),
        "argv": arguments.argv,
        "directory": str(Path.cwd()),
        "planned": list(planned),
    }
    directory = RunDirectory.create(path, begin)
    return Attempt(directory, Journaling(directory), begin, tuple(planned))


def next_attempt(
    path: Path, retries: int, planned: Sequence[str] = ()
) -> tuple[list[str], Attempt]:
    """Open a run's directory to continue; returns also the arguments of the first attempt.

    Changes to the working directory of the first attempt, for relative paths in its arguments.

    :param retries: how often a scenario that crashed this host runs again, alone
    :param planned: ids of further scenarios that should get a record
    :raises UsageError: it is no run, it is damaged, or another kernel is running now
    :raises RunDirectoryError: another process is writing it
    """
    directory = RunDirectory.open(path)
    try:
        history = History.of(directory.entries(), HostFiles().boot_id())
        since = since_epoch(history.last_begin["time"])
        argv, folder = list(history.begin["argv"]), Path(history.begin["directory"])
    except ScenarioError as error:
        raise UsageError(f"{directory.path / JOURNAL}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{directory.path / JOURNAL}: its begin entry: {error!r}") from error
    if not _is_run(history.begin):
        raise UsageError(
            f"{directory.path}: `kvmprobe {' '.join(argv[:1])}` cannot be resumed; run it again"
        )
    _require_same_kernel(directory.path, history)
    _go_to(folder)
    aftermath = settle(history, retries, last_panic(since))
    begin = {**_this_attempt(now()), **({"planned": list(planned)} if planned else {})}
    directory.journal.append(EntryType.BEGIN, begin)
    attempt = Attempt(
        directory,
        Journaling(directory, environments_of(directory.path, history)),
        history.begin,
        history.planned,
        tuple(history.records.values()),
        tuple(aftermath.blamed),
        past_of(history, aftermath),
    )
    return argv, attempt


def _is_run(begin: Mapping[str, Any]) -> bool:
    """Return True if `run` began it; what `replay` began cannot be resumed."""
    return list(begin["argv"][:1]) == ["run"]


def _this_attempt(began: str) -> dict[str, Any]:
    return {
        "tool": f"kvmprobe {__version__}",
        "command": sys.argv,
        "boot_id": HostFiles().boot_id(),
        "time": began,
    }


def _go_to(folder: Path) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise UsageError(
            f"{folder}: {error.strerror}: the run was started in this directory, and its arguments "
            "may refer to it; create it, then resume"
        ) from error


def _require_same_kernel(path: Path, history: History) -> None:
    here = ThisHost().target
    for target in history.real:
        if target != here:
            raise UsageError(
                f"{path}: the run is on {target.kernel} ({target.source}), but {here.kernel} "
                f"({here.source}) is running; boot that kernel or start a new run"
            )
