"""Derived scenarios agree with their base on a correct kernel, whichever legal answer it gives."""

from __future__ import annotations

from functools import cache

import pytest

from kvmprobe.checkers.session import Checkers
from kvmprobe.scenarios import catalog, relations
from kvmprobe.scenarios.document import check_domain
from kvmprobe.scenarios.model_run import ModelRun
from tests.support.fake_kernel import trace_along
from tests.support.hosts import AMX_HOST

# Every family, and of the matrix no more than of the others.
_STEP = {"restore": 700, "kick": 90}
each_derivation = pytest.mark.parametrize(
    "derivation", relations.DERIVATIONS, ids=lambda derivation: derivation.name
)


@cache
def derived(derivation):
    """Some scenarios that are derived this way, each with its base."""
    found = []
    seen = {}
    for base in catalog.scenarios(AMX_HOST):
        number = seen[base.family] = seen.get(base.family, 0) + 1
        if number % _STEP.get(base.family, 40) == 1:
            suffixes = list(derivation.suffixes(base))
            found += [
                (base, derivation.scenario(base, s)) for s in suffixes[:: len(suffixes) // 2 + 1]
            ]
    return found


@each_derivation
def test_there_are_some(derivation):
    assert len(derived(derivation)) > 2


@each_derivation
def test_the_model_can_judge_them(derivation):
    for _, scenario in derived(derivation):
        check_domain(scenario, AMX_HOST)


@each_derivation
def test_the_steps_of_the_base_are_in_them(derivation):
    for base, scenario in derived(derivation):
        kept = [scenario.steps[place].op for place in scenario.derived.places]
        assert kept == [step.op for step in base.steps], scenario.id


@each_derivation
def test_they_need_what_their_ops_need(derivation):
    for _, scenario in derived(derivation):
        needed = frozenset().union(*(op.needs for _, op in scenario.ops()))
        assert needed <= scenario.needs, scenario.id


@each_derivation
def test_they_agree_with_their_base(derivation):
    checkers, model_run = Checkers(AMX_HOST), ModelRun(AMX_HOST)
    found = []
    for base, scenario in derived(derivation):
        for one in (base, scenario):
            trace = trace_along(one, model_run)
            found += [(scenario.id, f) for f in checkers.across(one, trace, ()) if one is scenario]
    assert found[:3] == []


@each_derivation
def test_they_are_found_by_their_ids(derivation):
    for base, scenario in derived(derivation)[:3]:
        assert relations.derive(base, scenario.id.rpartition(".")[2]) == scenario
