"""The directory of sequences that reached something new, for later searches and other people."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from kvmprobe.cli.scenario import read
from kvmprobe.errors import RunDirectoryError, UsageError
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.results.durable import is_scratch, write_file
from kvmprobe.scenarios.document import to_document
from kvmprobe.scenarios.domain import judgeable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kvmprobe.scenarios.scenario import Scenario

# A document of the largest number of calls takes less, unless it has images of 64 KiB.
MOST_BYTES = 4 << 20
_ID, _SUFFIX, _DIGITS = "corpus", ".json", 16


def read_corpus(folder: Path) -> list[Scenario]:
    """Return the sequences of a directory, which is made if it is missing; all are checked.

    :raises UsageError: the directory cannot be made or written; a file cannot be read, is not a
        regular file, or is too large
    :raises ScenarioError: a file describes no scenario; the message has its path
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = sorted(file for file in folder.iterdir() if not is_scratch(file.name))
        for file in files:
            _check(file)
    except OSError as error:
        raise UsageError(f"{error.filename or folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{folder}: cannot be written; a search keeps there what reached more")
    return [read(file) for file in files]


def _check(file: Path) -> None:
    if file.suffix != _SUFFIX:
        raise UsageError(f"{file}: its name does not end in {_SUFFIX}; a corpus has scenarios only")
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{file}: not a regular file")
    if status.st_size > MOST_BYTES:
        raise UsageError(f"{file}: {status.st_size} bytes; at most {MOST_BYTES} are read")


def write_corpus(
    folder: Path, kept: Iterable[Scenario], superfluous: Iterable[Scenario]
) -> tuple[int, int]:
    """Add sequences to a directory and remove others; return how many were added and removed.

    Only files that a search has written are removed: those that are named by their content.  Left
    out is what the model can judge on this host alone, since documents are read anywhere.

    :raises RunDirectoryError: it cannot be written; what it had is still there
    """
    anywhere = sapphire_rapids()
    documents = {
        _name(scenario): to_document(_anonymous(scenario))
        for scenario in kept
        if judgeable((op for _, op in scenario.ops()), anywhere)
    }
    unwanted = {_name(scenario) for scenario in superfluous} - documents.keys()
    try:
        there = {file.name for file in folder.iterdir() if _is_ours(file)}
        added = documents.keys() - there
        for name in added:
            write_file(folder / name, documents[name])
        gone = there & unwanted
        for name in gone:
            (folder / name).unlink()
    except OSError as error:
        raise RunDirectoryError(f"{folder}: {error.strerror}; its files are kept") from error
    return len(added), len(gone)


def _anonymous(scenario: Scenario) -> Scenario:
    """Return the sequence with an id that only its steps determine."""
    blank = replace(scenario, id=_ID, row="", column="")
    digest = sha256(to_document(blank).encode()).hexdigest()[:_DIGITS]
    return replace(blank, id=f"{_ID}.{digest}")


def _name(scenario: Scenario) -> str:
    return f"{_anonymous(scenario).id}{_SUFFIX}"


def _is_ours(file: Path) -> bool:
    kind, _, digest = file.stem.partition(".")
    return kind == _ID and len(digest) == _DIGITS and file.suffix == _SUFFIX
