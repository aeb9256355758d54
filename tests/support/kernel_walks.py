"""Walks that end with a kernel doing the same."""

from __future__ import annotations

from typing import ClassVar

from kvmprobe.execution.driver import Request
from kvmprobe.execution.preflight import unmet
from kvmprobe.judge.lockstep import examined, explanation
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.scenarios.hazard import first_hazard
from kvmprobe.scenarios.model_run import ModelRuns
from tests.support.random_walks import Walk


class KernelWalk(Walk):
    """A walk in a correct kernel's model; the real one then goes it up to the first fatal load.

    :ivar kernel: the host that was found, with its defects
    """

    driver: ClassVar = None
    kernel: ClassVar = None

    def teardown(self):
        scenario = self.scenario()
        hazard = first_hazard(scenario, ModelRuns(self.kernel), DEFECTS)
        if hazard is not None:
            scenario = scenario.upto(hazard.step)
        [(_, trace)] = self.driver.traces([Request(scenario, gate=1)], self.kernel)
        assert trace.end_note == ""
        model_runs = ModelRuns(self.kernel)
        found, _ = examined(scenario, model_runs, trace)
        if found and not explanation(scenario, model_runs, trace, crashed=False):
            calls = "; ".join(op.text for _, op in scenario.ops())
            raise AssertionError(f"{found[0]} after {calls}")


def walk_of(driver, preflight):
    """The walk for a kernel that has been examined."""
    found = preflight.profile
    host, lacks = found.without_defects, frozenset(unmet(preflight))
    members = {"driver": driver, "kernel": found, "host": host, "lacks": lacks}
    return type("ThisKernelsWalk", (KernelWalk,), members)
