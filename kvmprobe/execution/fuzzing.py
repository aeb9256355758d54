"""Searches at one place: runs batches of sequences, and reports each new kind of failure.

The normal runner runs and judges them.  Of what it finds only the first sequence of each signature
is kept; others are counted.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmprobe.execution.against import Named, Side, first_difference
from kvmprobe.execution.batch_ledger import BatchLedger
from kvmprobe.execution.place import Risk
from kvmprobe.execution.preflight import unmet
from kvmprobe.execution.runner import Runner
from kvmprobe.results.growth import Point
from kvmprobe.scenarios.domain import judgeable
from kvmprobe.scenarios.relations.reads import BLIND
from kvmprobe.search.signature import Explained, signatures_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvmprobe.execution.ledger import Ledger
    from kvmprobe.execution.place import Place
    from kvmprobe.execution.settling import Hazardous
    from kvmprobe.execution.trials import Trials
    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.trace import Trace
    from kvmprobe.results.verdict import Verdict
    from kvmprobe.scenarios.need import Needs
    from kvmprobe.scenarios.scenario import Scenario
    from kvmprobe.search.guidance import Guidance
    from kvmprobe.search.signature import Signature

# Sequences between two looks at the budget; on a real host each batch starts a worker.
_BATCH = {Risk.REAL: 256, Risk.EXPENDABLE: 64}
# One sequence of so many also runs blind.
_TWIN_OF = 2

# Further sequences that are kept for each signature.
_OTHERS = 100


@dataclass(frozen=True, slots=True)
class Failing:
    """The first sequence with a signature.

    :ivar scenario: the sequence, also where its blind twin failed
    :ivar record: of the one that failed
    :ivar trace: its outputs
    :ivar after: seconds of the search before it was known
    """

    signature: Signature
    scenario: Scenario
    record: ScenarioRecord
    trace: Trace | None
    after: float


@dataclass(slots=True)
class Tally:
    """What a search has done.

    :ivar sequences: number of sequences that were judged, blind twins included
    :ivar calls: number of their calls
    :ivar seconds: time that it took
    :ivar verdicts: how many had each verdict
    :ivar known: how many each known defect explains
    :ivar named: how many differences from the other kernel each name explains
    :ivar again: how often each signature was seen
    """

    sequences: int = 0
    calls: int = 0
    seconds: float = 0.0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    again: Counter[Signature] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Sequences a second."""
        return self.sequences / self.seconds if self.seconds else 0.0

    @property
    def call_rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds if self.seconds else 0.0


class Fuzzing:
    """One search.

    :ivar tally: what has been done
    :ivar others: by signature, further sequences that failed with it: another cause can be there
    """

    def __init__(
        self,
        place: Place,
        hazardous: Hazardous,
        explained: Explained,
        ledger: Ledger,
        progress: Progress,
        against: Trials | None = None,
    ) -> None:
        """Prepare it.

        :param explained: whether a failure that known defects predict is one
        :param against: another kernel, which runs the same sequences
        """
        self._against = against
        self.tally = Tally()
        self.others: defaultdict[Signature, list[Failing]] = defaultdict(list)
        self._explained = explained
        self._began = time.monotonic()
        self._ledger = ledger
        self._progress = progress
        self._batch = BatchLedger(ledger)
        self._records: list[ScenarioRecord] = []
        self._name = place.target.description
        self._size = _BATCH[place.risk]
        self._runner = Runner(place, hazardous, self._records.append, progress, ledger=self._batch)

    @property
    def host(self) -> HostProfile:
        """The profile of the place, which is probed first, without its kernel's defects.

        :raises Unavailable: KVM is not usable there
        """
        return self._runner.examined().profile.without_defects

    @property
    def missing(self) -> Needs:
        """What the place lacks.

        :raises Unavailable: KVM is not usable there
        """
        return frozenset(unmet(self._runner.examined()))

    @property
    def blind_spots(self) -> list[str]:
        """What could not be observed, and why."""
        return self._runner.blind_spots

    def run(
        self,
        guidance: Guidance,
        prefix: str,
        spent: Callable[[], bool],
        grew: Callable[[Point], None],
    ) -> Iterator[Failing]:
        """Run sequences until the budget is spent; yield the first of each new signature.

        :param prefix: of the ids
        :param spent: tells whether the budget is spent; asked between batches
        :param grew: takes what has been done and reached, after each batch
        :raises HostStuck, Unavailable: see :meth:`Runner.run`
        """
        number = 0
        self._began = time.monotonic()
        while not spent():
            self._progress.stage(
                f"{self._name}: {self.tally.sequences} sequences, {self.tally.rate:.0f}/s, "
                f"{len(self.tally.again)} finds, {guidance.transition_count} transitions"
            )
            began = time.monotonic()
            scenarios = guidance.batch(prefix, number, self._size)
            number += len(scenarios)
            found = [*self.judged(scenarios), *self._differing(scenarios)]
            self._reached(guidance)
            self.tally.seconds += time.monotonic() - began
            grew(self._point(guidance))
            yield from found

    def _point(self, guidance: Guidance) -> Point:
        tally = self.tally
        reached = guidance.transition_count, guidance.block_count
        return Point(tally.seconds, tally.sequences, tally.calls, *reached)

    def _reached(self, guidance: Guidance) -> None:
        """Tell which blocks were reached; those that are new go to the ledger as well."""
        for scenario_id, blocks in self._batch.blocks.items():
            base = scenario_id.removesuffix(f".{BLIND.name}")
            if guidance.reached(base, int.from_bytes(blocks, "little")):
                self._ledger.reached(scenario_id, blocks)

    def judged(self, scenarios: Sequence[Scenario]) -> Iterator[Failing]:
        """Run these sequences; yield the first of each new signature."""
        bases = {scenario.id: scenario for scenario in scenarios}
        twins = [
            BLIND.scenario(scenario, suffix)
            for scenario in scenarios[::_TWIN_OF]
            for suffix in BLIND.suffixes(scenario)
        ]
        self._records.clear()
        self._batch.forget()
        self._runner.again([*scenarios, *twins])
        base_of = {twin.id: twin.derived.base for twin in twins if twin.derived}
        for record in self._records:
            self._count(record)
            for signature in signatures_of(record, self._explained)[:1]:
                scenario = bases[base_of.get(record.id, record.id)]
                yield from self._if_new(signature, scenario, record)

    def _if_new(
        self, signature: Signature, scenario: Scenario, record: ScenarioRecord
    ) -> Iterator[Failing]:
        """Yield a failure if its signature is new; else keep it among the others, if it may be."""
        after = time.monotonic() - self._began
        failing = Failing(signature, scenario, record, self._batch.traces.get(record.id), after)
        self.tally.again[signature] += 1
        if self.tally.again[signature] == 1:
            yield failing
        elif len(self.others[signature]) < _OTHERS:
            self.others[signature].append(failing)

    def _differing(self, scenarios: Sequence[Scenario]) -> Iterator[Failing]:
        """Run these sequences on the other kernel; yield new differences that have no name."""
        if self._against is None:
            return
        host, records = self._against.correct_host, {record.id: record for record in self._records}
        both = [s for s in scenarios if s.id in records and _judgeable(s, host)]
        runs = self._runner.model_runs, self._against.model_runs
        for scenario, (other, *_) in zip(both, self._against.records(both), strict=True):
            mine = records[scenario.id]
            sides = (
                Side(mine, self._batch.traces.get(mine.id), runs[0]),
                Side(other, self._against.traces.get(other.id), runs[1]),
            )
            found = first_difference(scenario, *sides)
            if isinstance(found, Named):
                self.tally.named.update(found.names)
            elif found is not None:
                yield from self._if_new(found, scenario, mine)

    def _count(self, record: ScenarioRecord) -> None:
        self.tally.sequences += 1
        self.tally.calls += sum(len(step.calls) for step in record.steps)
        self.tally.verdicts[record.verdict] += 1
        self.tally.known.update(record.known)


def _judgeable(scenario: Scenario, host: HostProfile) -> bool:
    return judgeable((op for _, op in scenario.ops()), host)
