"""Which scenarios are wanted, by globs over their ids."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kvmprobe.results.record import ScenarioRecord


def all_ids() -> list[str]:
    """Return every scenario's id; they are the same for every host."""
    return [scenario.id for scenario in catalog.scenarios(sapphire_rapids())]


def wanted(globs: Sequence[str]) -> Callable[[str], bool]:
    """Return a predicate over ids: any of the globs matches; no globs want everything.

    :raises UsageError: a glob matches no scenario
    """
    ids = all_ids()
    chosen: set[str] = set() if globs else set(ids)
    for glob in globs:
        matching = {name for name in ids if fnmatchcase(name, glob)}
        if not matching:
            raise UsageError(
                f"--select {glob!r} matches no scenario; `kvmprobe list` shows them, "
                f"for example {ids[0]}"
            )
        chosen |= matching
    return chosen.__contains__


def in_catalog_order(records: Iterable[ScenarioRecord]) -> list[ScenarioRecord]:
    """Return records as the catalogue lists their scenarios, whenever they ran."""
    rank = {name: place for place, name in enumerate(all_ids())}
    return sorted(records, key=lambda record: rank[record.id])
