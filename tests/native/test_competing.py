"""Scenarios with a process that competes for their CPU."""

from __future__ import annotations

import psutil
import pytest

from kvmprobe.abi.executor import Competition
from kvmprobe.checkers.session import Checkers
from kvmprobe.execution.driver import Driver, Request, Timing
from kvmprobe.execution.local_link import LocalLink
from kvmprobe.scenarios import relations
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.process import ContinueInChild
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from tests.support.places import sequence

pytestmark = pytest.mark.kvm
GUEST = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu(), RunUntilHalt(), GetXcrs())
BASE = sequence("competing", *GUEST)
IN_CHILD = sequence("in-child", ContinueInChild(), *GUEST)
WAYS = ("all", "init", "pkru-0")
REPEATS = 100


def competing(base, way="all"):
    return relations.derive(base, f"competing-{way}")


def traces(host, *scenarios):
    with LocalLink() as link:
        requests = [Request(scenario, gate=1) for scenario in scenarios]
        return [trace for _, trace in Driver(link, Timing()).traces(requests, host)]


@pytest.fixture(scope="module")
def ran(examined):
    """The bases and their twins with a competing process, with their traces."""
    bases = (BASE, IN_CHILD)
    scenarios = [s for base in bases for s in (base, *(competing(base, way) for way in WAYS))]
    return list(zip(scenarios, traces(examined.profile, *scenarios), strict=True))


def test_nobody_has_registers_of_another(ran, examined):
    checkers = Checkers(examined.profile)
    found = [(*checkers.within(*one), *checkers.across(*one, ())) for one in ran]
    assert found == [()] * len(ran)


def test_the_process_runs_during_the_calls(ran):
    made = {s.id: sum(step.rounds for step in trace.steps) for s, trace in ran}
    competes = {s.id for s, _ in ran if s.competition is Competition.PROCESS_COMPETES}
    assert {name for name, rounds in made.items() if rounds} == competes


def test_nothing_is_left_of_it(examined):
    def left(zygote):
        return zygote.num_fds(), zygote.children(recursive=True)

    with LocalLink() as link:
        driver = Driver(link, Timing())
        requests = [Request(competing(BASE), gate=1)] * REPEATS
        assert len(list(driver.traces(requests[:1], examined.profile))) == 1
        (zygote,) = psutil.Process(link.pid).children()
        before = left(zygote)
        assert len(list(driver.traces(requests, examined.profile))) == REPEATS
        assert left(zygote) == before
