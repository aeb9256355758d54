"""The columns of the page, which are runs on one target, and the rows, which are scenarios."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmprobe.results.record import ScenarioRecord, Target
    from kvmprobe.results.run_document import RunDocument


@dataclass(frozen=True, slots=True)
class Column:
    """One run on one target.

    :ivar label: the kernel and the options of its host; if several columns have the same, also
        what distinguishes them
    """

    run: RunDocument
    target: Target
    label: str
    records: tuple[ScenarioRecord, ...]


def columns_of(runs: Sequence[RunDocument]) -> tuple[Column, ...]:
    """Return a column for each target of each run, in the order of the runs."""
    pairs = [(run, target) for run in runs for target in run.targets]
    kernels = Counter(target.release for _, target in pairs)
    places = Counter((target.release, target.kind) for _, target in pairs)
    found = []
    for run, target in pairs:
        label = target.release
        if kernels[target.release] > 1:
            label += f" {target.kind}"
        if places[target.release, target.kind] > 1:
            label += f" ({run.name})"
        records = tuple(r for r in run.records if r.target == target)
        found.append(Column(run, target, label, records))
    return tuple(found)


def scenario_ids(columns: Iterable[Column]) -> tuple[str, ...]:
    """Return all scenarios with a record in the order of the catalogue; unknown ones last."""
    seen = dict.fromkeys(record.id for column in columns for record in column.records)
    listed = [s.id for s in catalog.scenarios(sapphire_rapids())]
    known = [scenario for scenario in listed if scenario in seen]
    return (*known, *(scenario for scenario in seen if scenario not in set(listed)))
