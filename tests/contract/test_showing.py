"""Which defects a scenario shows, by the model."""

from dataclasses import replace

import pytest

from kvmprobe.cli.traits import catalogue
from kvmprobe.judge.lockstep import divergences
from kvmprobe.model.behaviours import DEFECTS, Behaviour
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.results.trace import End
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.scenarios.scenario import Need
from kvmprobe.scenarios.showing import shows
from tests.support.fake_kernel import trace_of

SCENARIOS = {traits.scenario.id: traits.scenario for traits in catalogue()}
CORRECT = ModelRun(sapphire_rapids())


def defective(behaviour):
    return ModelRun(replace(sapphire_rapids(), behaviours=frozenset({behaviour})))


def test_a_correct_kernel_shows_nothing():
    assert not any(shows(s, CORRECT, ModelRun(sapphire_rapids())) for s in SCENARIOS.values())


@pytest.mark.parametrize("behaviour", sorted(DEFECTS, key=lambda d: d.name))
def test_a_defect_shows_where_the_judge_sees_a_divergence(behaviour):
    # The judge compares what a kernel answered, byte by byte, with what a correct one may answer.
    # After guest code the defective kernel may answer alike: the judge sees one of its answers.
    host, model_run = sapphire_rapids(), defective(behaviour)
    sample = [s for s in SCENARIOS.values() if Need.GUEST_CODE not in s.needs][::17]
    seen = [s.id for s in sample if divergences(s, host, trace_of(s, host, behaviour))]
    died = [s.id for s in sample if trace_of(s, host, behaviour).end is End.LOST]
    shown = [s.id for s in sample if shows(s, CORRECT, model_run)]
    assert set(shown) == {*seen, *died}


def test_a_difference_in_what_is_left_open_is_none():
    # O3 discards state; where that was INIT state before, only XINUSE of it may differ.
    model_run = defective(Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE)
    before = "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-zero.bv-zero"
    after = "restore.xsave-cpuid-msrs-xcrs.perm-granted.xfd-zero.bv-legacy"
    assert [shows(SCENARIOS[name], CORRECT, model_run) for name in (before, after)] == [False, True]
