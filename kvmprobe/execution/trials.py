"""Scenarios that are tried at a place for their records alone: nothing is written to a journal.

A search tries many and keeps few.  On a real host the same gate holds as for a run.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.execution.batch_ledger import BatchLedger
from kvmprobe.execution.ledger import NoLedger
from kvmprobe.execution.preflight import unmet
from kvmprobe.execution.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmprobe.execution.place import Place
    from kvmprobe.execution.settling import Hazardous
    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.scenarios.model_run import ModelRuns
    from kvmprobe.scenarios.need import Needs
    from kvmprobe.scenarios.relations.derivation import Derivation
    from kvmprobe.scenarios.scenario import Scenario


class Trials:
    """Tries scenarios at one place.

    :ivar tried: number of scenarios that ran, those that were derived from another included
    :ivar traces: outputs of those of the last batch, by id
    """

    def __init__(
        self,
        place: Place,
        hazardous: Hazardous,
        progress: Progress,
        derivations: Sequence[Derivation] = (),
    ) -> None:
        """Prepare them.

        :param derivations: each scenario runs beside what these make of it
        """
        self.tried = 0
        self._derivations = derivations
        self._records: list[ScenarioRecord] = []
        self._batch = BatchLedger(NoLedger())
        self.traces = self._batch.traces
        self._runner = Runner(place, hazardous, self._records.append, progress, ledger=self._batch)

    @property
    def host(self) -> HostProfile:
        """The profile of the place, which is probed first.

        :raises Unavailable: KVM is not usable there
        """
        return self._runner.examined().profile

    @property
    def correct_host(self) -> HostProfile:
        """The same without its kernel's defects: the host on which scenarios are judged.

        What only a defect makes possible, such as a vCPU with an id that is refused, the judge
        does not know.
        """
        return self.host.without_defects

    @property
    def model_runs(self) -> ModelRuns:
        """The model's runs of the place."""
        return self._runner.model_runs

    def lacking(self, needs: Needs) -> list[str]:
        """Return the reasons why scenarios with these needs cannot run at the place.

        :raises Unavailable: KVM is not usable there
        """
        missing = unmet(self._runner.examined())
        return [reason for need, (_, reason) in missing.items() if need in needs]

    def records(self, scenarios: Sequence[Scenario]) -> list[tuple[ScenarioRecord, ...]]:
        """Run scenarios; return the records of each, with those that were derived from it.

        Of several, each has an id of its own in its record.

        :raises Unavailable, BootFailed, HostStuck: see :meth:`Runner.run`
        """
        named = [replace(s, id=f"{s.id}.trial-{nr}") for nr, s in enumerate(scenarios)]
        if len(scenarios) == 1:
            named = list(scenarios)
        all_of = {s.id: [s, *self._derived(s)] for s in named}
        self._records.clear()
        self._batch.forget()
        self._runner.again([one for group in all_of.values() for one in group])
        self.tried += len(self._records)
        found: dict[str, list[ScenarioRecord]] = defaultdict(list)
        for record in (*self._records, *self._runner.not_runnable):
            found[record.id].append(record)
        return [
            tuple(record for one in all_of[scenario.id] for record in found[one.id])
            for scenario in named
        ]

    def _derived(self, scenario: Scenario) -> Iterable[Scenario]:
        for derivation in self._derivations:
            for suffix in derivation.suffixes(scenario):
                yield derivation.scenario(scenario, suffix)
