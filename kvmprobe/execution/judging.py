"""Judges the traces of one kernel: by the model, then by the checkers, which do not use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.checkers.session import Checkers
from kvmprobe.judge.in_doubt import labelled
from kvmprobe.judge.verdicts import judged, with_findings
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.scenarios.model_run import ModelRuns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import Crash, Finding, ScenarioRecord, Target
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.scenario import Scenario


class Judging:
    """What is known of one kernel so far: the model's runs, and the traces of other orders.

    :ivar host: its profile
    :ivar model_runs: those of the host
    """

    def __init__(self, host: HostProfile, target: Target) -> None:
        self.model_runs = ModelRuns(host)
        self.host = host
        self._target = target
        self._checkers = Checkers(host)

    def forget(self) -> None:
        """Drop the traces so far, with which later ones would be compared."""
        self._checkers = Checkers(self.host)

    def record(
        self, scenario: Scenario, trace: Trace, crash: Crash | None = None
    ) -> ScenarioRecord:
        """Return the record of a scenario that ran, perhaps not to its end.

        :param crash: report of a host that died in the step after the last one of the trace
        """
        record = self.alone(scenario, trace, crash)
        across = self._checkers.across(scenario, trace, record.known)
        return self._with(record, across, scenario, trace)

    def alone(self, scenario: Scenario, trace: Trace, crash: Crash | None = None) -> ScenarioRecord:
        """Return the same record without comparisons with other scenarios."""
        record = judged(scenario, self.host, trace, self._target, crash, self.model_runs)
        return self._with(record, self._checkers.within(scenario, trace), scenario, trace)

    def _with(
        self, record: ScenarioRecord, found: Iterable[Finding], scenario: Scenario, trace: Trace
    ) -> ScenarioRecord:
        own = self.host.behaviours & DEFECTS
        known = (labelled(each, scenario, self.model_runs, trace, own) for each in found)
        return with_findings(record, tuple(known))
