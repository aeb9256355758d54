"""What shows a failure of a scenario: one kernel, or two kernels that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kvmprobe.execution.against import Side, first_difference
from kvmprobe.search.signature import Explained, Signature, signatures_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmprobe.execution.trials import Trials
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.scenario import Scenario

    Shown = Mapping[Signature, tuple[ScenarioRecord, Trace | None]]


class Witness(Protocol):
    """Runs scenarios and tells which failures they show."""

    @property
    def host(self) -> HostProfile:
        """The host on whose domain scenarios have to stay."""

    def shown(self, scenarios: Sequence[Scenario]) -> list[Shown]:
        """Return for each scenario its failures, the most telling one first, with what shows them.

        :raises Unavailable, BootFailed, HostStuck: see :meth:`Runner.run`
        """


def still_shown(
    witness: Witness, signature: Signature, scenarios: Sequence[Scenario]
) -> list[bool]:
    """Return for each scenario whether it shows a failure.

    :raises Unavailable, BootFailed, HostStuck: see :meth:`Runner.run`
    """
    return [signature in shown for shown in witness.shown(scenarios)]


class OneKernel:
    """The judge of one kernel."""

    def __init__(self, trials: Trials, explained: Explained) -> None:
        self._trials = trials
        self._explained = explained

    @property
    def host(self) -> HostProfile:
        """The kernel's host."""
        return self._trials.correct_host

    def shown(self, scenarios: Sequence[Scenario]) -> list[Shown]:
        """Return what the judge finds."""
        return [self._of(records) for records in self._trials.records(scenarios)]

    def _of(self, records: tuple[ScenarioRecord, ...]) -> Shown:
        found: dict[Signature, tuple[ScenarioRecord, Trace | None]] = {}
        for record in records:
            for signature in signatures_of(record, self._explained):
                found.setdefault(signature, (record, self._trials.traces.get(record.id)))
        return found


class TwoKernels:
    """The difference between two kernels that nothing explains."""

    def __init__(self, here: Trials, there: Trials) -> None:
        self._here, self._there = here, there

    @property
    def host(self) -> HostProfile:
        """The host of the kernel under test."""
        return self._here.correct_host

    def shown(self, scenarios: Sequence[Scenario]) -> list[Shown]:
        """Return the first difference of each."""
        mine, theirs = (trials.records(scenarios) for trials in (self._here, self._there))
        return [
            self._difference(scenario, one[0], other[0])
            for scenario, one, other in zip(scenarios, mine, theirs, strict=True)
        ]

    def _difference(
        self, scenario: Scenario, mine: ScenarioRecord, theirs: ScenarioRecord
    ) -> Shown:
        sides = (
            Side(record, trials.traces.get(record.id), trials.model_runs)
            for record, trials in ((mine, self._here), (theirs, self._there))
        )
        found = first_difference(scenario, *sides)
        return {found: (mine, None)} if isinstance(found, Signature) else {}
