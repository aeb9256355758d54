"""``--kernels``: several kernels by name, or a set of the packaged ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.lab import kernels
from kvmprobe.results.releases import series_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.lab.archive import Archives
    from kvmprobe.progress import Progress

ALL = "all"
NEWEST_OF_EACH = "newest-of-each"


def specs_of(words: Iterable[str], archives: Archives, progress: Progress) -> tuple[str, ...]:
    """Return the SPECs that the words name, each once.

    :param words: each has SPECs separated by commas, ``newest-of-each`` for the newest packaged
        kernel of each series, or ``all`` for every version; those two are in order of version
    :raises UsageError: there is no SPEC
    :raises LabError: the package lists are needed and not available
    """
    found: list[str] = []
    for word in (part.strip() for text in words for part in text.split(",")):
        if word in {ALL, NEWEST_OF_EACH}:
            found += packaged(word, archives, progress)
        elif word:
            found.append(word)
    if not found:
        raise UsageError("no kernel is named")
    return tuple(dict.fromkeys(found))


def packaged(word: str, archives: Archives, progress: Progress) -> list[str]:
    """Return the versions of a set, oldest first.

    :raises LabError: the package lists are not available
    """
    labels = [candidate.label for candidate in kernels.available(archives, progress)]
    if word == NEWEST_OF_EACH:
        newest = {series_of(label): label for label in reversed(labels)}
        labels = [label for label in labels if newest[series_of(label)] == label]
    return labels[::-1]
