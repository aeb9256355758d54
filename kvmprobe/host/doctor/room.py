"""Free space where a run writes."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.host.doctor.advice import Advice, fine, not_ready, worth_knowing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MIB = 1 << 20
# By what a run keeps: below the first a run may not end, below the second many will not fit.
NEEDED, COMFORTABLE = 256 * MIB, 2048 * MIB


def room(folders: Mapping[str, Path | UsageError]) -> Iterator[Advice]:
    """Tell what each folder, which need not exist yet, has left.

    :param folders: by what they are for, such as ``cache``; or why there is none
    """
    for purpose, folder in folders.items():
        topic = f"room: {purpose}"
        if isinstance(folder, UsageError):
            yield not_ready(topic, str(folder), "choose a folder")
        else:
            yield _room(topic, folder)


def _room(topic: str, folder: Path) -> Advice:
    # Path.exists raises where a folder on the way may not be searched.
    there = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    if not os.access(there, os.W_OK):
        return not_ready(topic, f"{folder}: {there} cannot be written", "choose another folder")
    free = shutil.disk_usage(there).free
    said = f"{free // MIB} MiB free for {folder}"
    if free < NEEDED:
        return not_ready(topic, said, "free some, or choose another folder")
    if free < COMFORTABLE:
        return worth_knowing(topic, said, "free some before a long campaign")
    return fine(topic, said)
