"""Each checker catches a planted fault; no other checker does, unless the fault says why."""

from __future__ import annotations

import pytest

from kvmprobe.checkers.session import CHECKERS
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST
from tests.support.planted import FAULTS, PAIRS, caught, caught_across

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.checker)
each_pair = pytest.mark.parametrize("fault", PAIRS, ids=lambda fault: fault.checker)


def test_every_checker_has_a_fault():
    assert {checker.check.__name__ for checker in CHECKERS} - {f.checker for f in FAULTS} == set()


@each_fault
def test_a_fault_is_caught_by_its_checker_and_by_no_other_without_reason(fault):
    trace = fault.plant(trace_of(fault.scenario, AMX_HOST))
    assert caught(fault.scenario, trace) == {fault.checker, *fault.also}


@each_fault
def test_without_the_fault_nothing_is_caught(fault):
    assert caught(fault.scenario, trace_of(fault.scenario, AMX_HOST)) == set()


@each_pair
def test_a_fault_that_two_scenarios_show_is_caught_where_they_are_compared(fault):
    assert caught_across(fault.first, fault.second, fault.plant) == {fault.checker}


@each_pair
def test_two_scenarios_without_the_fault_agree(fault):
    assert caught_across(fault.first, fault.second) == set()
