"""A search on a fake kernel: it finds defects that it knows nothing of, and reduces them."""

from __future__ import annotations

import pytest

from kvmprobe.execution.fuzzing import Fuzzing
from kvmprobe.execution.ledger import NoLedger
from kvmprobe.execution.place import Risk
from kvmprobe.execution.reducing import Reducing
from kvmprobe.execution.settling import Hazardous
from kvmprobe.execution.trials import Trials
from kvmprobe.execution.witness import OneKernel
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.progress import Silent
from kvmprobe.scenarios.relations.reads import BLIND
from kvmprobe.search.shrink import Budget
from kvmprobe.search.signature import Explained
from tests.support.fake_link import FakePlace, learn_ops
from tests.support.hosts import AMX_HOST, with_behaviours
from tests.support.searching import search

O1 = Behaviour.XFD_WRITE_KEEPS_XSTATE_BV
O2 = Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV
O3 = Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE
B4 = Behaviour.XTILE_CFG_ADVERTISED_ALONE


@pytest.fixture(autouse=True)
def _all_ops(monkeypatch):
    learn_ops(monkeypatch)


def test_a_correct_kernel_has_no_finds():
    fuzzing, found = search(FakePlace(AMX_HOST, Risk.EXPENDABLE), Explained.BY_NOTHING, 2)
    assert (list(found), fuzzing.tally.sequences > 50) == ([], True)


def test_known_defects_are_counted_and_are_no_finds():
    place = FakePlace(with_behaviours(AMX_HOST, O2, O3), Risk.EXPENDABLE)
    fuzzing, found = search(place, Explained.BY_KNOWN_DEFECTS, 2)
    assert list(found) == []
    assert fuzzing.tally.known["O2"] > 0


@pytest.mark.parametrize("defect", [O2, O3, B4], ids=lambda defect: defect.name)
def test_a_search_that_knows_nothing_finds_a_defect_and_reduces_it(defect):
    place = FakePlace(with_behaviours(AMX_HOST, defect), Risk.EXPENDABLE)
    _, found = search(place, Explained.BY_NOTHING, 30)
    failing = next(found)
    blind = failing.record.id != failing.scenario.id
    trials = Trials(place, Hazardous.EVERY, Silent(), (BLIND,) if blind else ())
    budget = Budget(seconds=float("inf"))
    witness = OneKernel(trials, Explained.BY_NOTHING)
    reduced = Reducing(failing.scenario, failing.signature, witness, budget, Silent()).run()
    assert reduced.reproduces
    assert len(reduced.scenario.steps) <= 8
    # Each op is needed: without it the failure does not come.
    assert all(failing.signature not in each.comes for each in reduced.contributions)


def test_a_failure_that_does_not_come_again_is_said_to():
    defective = FakePlace(with_behaviours(AMX_HOST, B4), Risk.EXPENDABLE)
    _, found = search(defective, Explained.BY_NOTHING, 1)
    failing = next(found)
    trials = Trials(FakePlace(AMX_HOST, Risk.EXPENDABLE), Hazardous.EVERY, Silent())
    witness = OneKernel(trials, Explained.BY_NOTHING)
    reduced = Reducing(failing.scenario, failing.signature, witness, Budget(), Silent()).run()
    assert (reduced.reproduces, reduced.scenario.steps) == (False, failing.scenario.steps)


def test_a_budget_of_nothing_runs_nothing():
    fuzzing, found = search(FakePlace(AMX_HOST, Risk.EXPENDABLE), Explained.BY_NOTHING, 0)
    assert (list(found), fuzzing.tally.sequences) == ([], 0)


def test_sequences_are_for_a_kernel_without_defects():
    # A vCPU that only a defect of the kernel creates (B16) is none for the judge.
    truncates = Behaviour.VCPU_ID_TRUNCATED
    place = FakePlace(with_behaviours(AMX_HOST, truncates, Behaviour.KNOWS_APX), Risk.EXPENDABLE)
    fuzzing = Fuzzing(place, Hazardous.EVERY, Explained.BY_NOTHING, NoLedger(), Silent())
    trials = Trials(place, Hazardous.EVERY, Silent())
    hosts = (fuzzing.host, OneKernel(trials, Explained.BY_NOTHING).host)
    assert {host.behaviours for host in hosts} == {frozenset({Behaviour.KNOWS_APX})}
