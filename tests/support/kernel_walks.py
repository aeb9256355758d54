"""Walks that end with a kernel doing the same."""

from __future__ import annotations

from typing import ClassVar

from kvmprobe.execution.driver import Request
from kvmprobe.execution.judge.lockstep import divergences, explanation
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.scenarios.course import Courses
from kvmprobe.scenarios.hazard import first_hazard
from tests.support.random_walks import Walk


class KernelWalk(Walk):
    """A walk ends before a fatal load."""

    driver: ClassVar = None

    def teardown(self):
        scenario = self.scenario()
        hazard = first_hazard(scenario, Courses(self.host), DEFECTS)
        if hazard is not None:
            scenario = scenario.upto(hazard.step)
        [(_, trace)] = self.driver.traces([Request(scenario, hold=1)], self.host)
        assert trace.end_note == ""
        found = divergences(scenario, self.host, trace)
        if found and not explanation(scenario, self.host, trace, crashed=False):
            calls = "; ".join(op.text for _, op in scenario.ops())
            raise AssertionError(f"{found[0]} after {calls}")


def walk_of(driver, preflight):
    """The walk for a kernel that has been examined."""
    profile = preflight.profile
    return type("ThisKernelsWalk", (KernelWalk,), {"driver": driver, "host": profile})
