"""Scenarios whose calls are each made on another CPU than the one before."""

from __future__ import annotations

import os

import pytest

from kvmprobe.checkers.session import Checkers
from kvmprobe.execution.driver import Driver, Request, Timing
from kvmprobe.execution.local_link import LocalLink
from kvmprobe.results.trace import End
from kvmprobe.scenarios import relations
from kvmprobe.scenarios.calls import Relation
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.permission import GetGuestPermission
from kvmprobe.scenarios.ops.process import SpawnTask
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from tests.support.places import sequence

pytestmark = pytest.mark.kvm
GUEST = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu())
RUNS = (SetXsave(3), GetXsave2(), RunImmediateExit(), GetXsave2(), RunUntilHalt(), GetXsave2())
IN_THREAD = (SpawnTask("thread", Relation.THREAD), GetGuestPermission(by="thread"))
BASE = sequence("moved", *GUEST, *RUNS, *IN_THREAD)
MOVED = relations.derive(BASE, "moved-cpu")


def traces(host, *scenarios):
    with LocalLink() as link:
        requests = [Request(scenario, gate=1) for scenario in scenarios]
        return [trace for _, trace in Driver(link, Timing()).traces(requests, host)]


@pytest.fixture
def one_cpu():
    """Let this process, and those that it starts, use one CPU."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    yield
    os.sched_setaffinity(0, usable)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU")
def test_the_results_are_those_of_a_scenario_that_does_not_move(examined):
    checkers = Checkers(examined.profile)
    ran = zip((BASE, MOVED), traces(examined.profile, BASE, MOVED), strict=True)
    assert [(trace.end, checkers.across(scenario, trace, ())) for scenario, trace in ran] == [
        (End.DONE, ()),
        (End.DONE, ()),
    ]


@pytest.mark.usefixtures("one_cpu")
def test_nothing_is_claimed_to_move_where_there_is_one_cpu(examined):
    (trace,) = traces(examined.profile, MOVED)
    assert (trace.end, trace.end_note) == (
        End.BROKEN,
        "step 0: the process may use one CPU only",
    )
