"""Trials: records of each scenario, in order, with those of what is derived from it."""

from __future__ import annotations

import pytest

from kvmprobe.execution.place import Risk
from kvmprobe.execution.settling import Hazardous
from kvmprobe.execution.trials import Trials
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.progress import Silent
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.relations.reads import BLIND
from tests.support.fake_link import FakePlace
from tests.support.hosts import AMX_HOST, with_behaviours

B1 = Behaviour.SET_XSAVE_KEEPS_XFD_ARMED
HOST = with_behaviours(AMX_HOST, B1)
FATAL, SAFE = (
    catalog.scenario(f"restore.cpuid-msrs-xcrs-xsave.perm-granted.{variant}", AMX_HOST)
    for variant in ("xfd-armed.bv-tiles", "xfd-zero.bv-legacy")
)


def verdicts(place, hazardous, *derivations):
    trials = Trials(place, hazardous, Silent(), derivations)
    found = trials.records([FATAL, SAFE, FATAL])
    return [[record.verdict for record in each] for each in found]


@pytest.mark.parametrize("risk", Risk, ids=lambda risk: risk.name)
def test_records_are_in_the_order_of_the_scenarios_whichever_run_first(risk):
    found = verdicts(FakePlace(HOST, risk), Hazardous.STOP)
    assert found == [[Verdict.DIVERGED], [Verdict.PASS], [Verdict.DIVERGED]]


def test_on_an_expendable_host_they_go_on_to_the_crash():
    found = verdicts(FakePlace(HOST, Risk.EXPENDABLE), Hazardous.EVERY)
    assert found == [[Verdict.CRASHED], [Verdict.PASS], [Verdict.CRASHED]]


def test_each_runs_beside_what_is_derived_from_it():
    found = verdicts(FakePlace(HOST, Risk.REAL), Hazardous.STOP, BLIND)
    assert [len(each) for each in found] == [2, 2, 2]


def test_a_place_is_probed_once():
    place = FakePlace(HOST, Risk.EXPENDABLE)
    trials = Trials(place, Hazardous.STOP, Silent())
    assert [len(trials.records([SAFE])) for _ in range(3)] == [1, 1, 1]
    assert trials.tried == 3
