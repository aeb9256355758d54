"""The traits by which scenarios of the catalogue are selected.

Hazards and defects come from the model, for a Sapphire Rapids host whose kernel may have every
known defect; they are computed on demand.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING

from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.results.known import known_defects
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.hazard import first_hazard
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.scenarios.showing import shown
from kvmprobe.scenarios.traits import all_tags, op_names, tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmprobe.scenarios.hazard import Hazard
    from kvmprobe.scenarios.scenario import Scenario


class Traits:
    """The traits of one scenario, each computed when it is first needed."""

    def __init__(self, scenario: Scenario, model_runs: ModelRuns) -> None:
        self.scenario = scenario
        self._model_runs = model_runs

    @cached_property
    def ops(self) -> tuple[str, ...]:
        """Names of its ops and observers."""
        return op_names(self.scenario)

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """Family, needs, relations of its tasks."""
        return tags(self.scenario)

    @cached_property
    def hazard(self) -> Hazard | None:
        """Its first fatal load on a kernel with known defects."""
        return first_hazard(self.scenario, self._model_runs, frozenset(known_defects()))

    @cached_property
    def hazard_ids(self) -> tuple[str, ...]:
        """Ids of the known defects that make it fatal."""
        made_by = self.hazard.defects if self.hazard else frozenset()
        return tuple(defect.id for key, defect in known_defects().items() if key in made_by)

    @cached_property
    def defects(self) -> tuple[str, ...]:
        """Ids of the known defects that it shows."""
        known = known_defects()
        found = set(shown(self.scenario, self._model_runs, known))
        return tuple(defect.id for behaviour, defect in known.items() if behaviour in found)


@cache
def catalogue() -> Sequence[Traits]:
    """Return the traits of all scenarios; the ids are the same for every host."""
    host = sapphire_rapids()
    model_runs = ModelRuns(host)
    return tuple(Traits(scenario, model_runs) for scenario in catalog.scenarios(host))


def known_tags() -> tuple[str, ...]:
    """Return every tag."""
    return all_tags(traits.scenario for traits in catalogue())


@cache
def defect_names() -> Mapping[str, frozenset[str]]:
    """Return the names of each known defect, by id."""
    return {defect.id: defect.names for defect in known_defects().values()}
