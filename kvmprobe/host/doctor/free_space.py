"""Free space in the folders that a run writes to."""

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
# One run may not fit in less than the first; a series of runs may not fit in less than the second.
NEEDED, COMFORTABLE = 256 * MIB, 2048 * MIB


def free_space(folders: Mapping[str, Path | UsageError]) -> Iterator[Advice]:
    """Yield a finding for each folder, which need not exist yet.

    :param folders: by purpose, such as ``cache``; or the error that says why there is none
    """
    for purpose, folder in folders.items():
        topic = f"free space: {purpose}"
        if isinstance(folder, UsageError):
            yield not_ready(topic, str(folder), "choose a folder that can be written")
        else:
            yield _free_space(topic, folder)


def _free_space(topic: str, folder: Path) -> Advice:
    # os.access, since Path.exists raises if a parent folder may not be searched.
    there = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    if not os.access(there, os.W_OK):
        return not_ready(topic, f"{folder}: {there} cannot be written", "choose another folder")
    free = shutil.disk_usage(there).free
    finding = f"{free // MIB} MiB free for {folder}"
    if free < NEEDED:
        return not_ready(topic, finding, "free some space, or choose another folder")
    if free < COMFORTABLE:
        return worth_knowing(topic, finding, "free some space before many runs")
    return fine(topic, finding)
