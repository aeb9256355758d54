"""Which defects a scenario shows, by the model."""

import pytest

from kvmprobe.judge.lockstep import agrees_along
from kvmprobe.model.behaviours import DEFECTS, Behaviour
from kvmprobe.model.outcome import OneOf
from kvmprobe.results.trace import End
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.scenarios.scenario import Need
from kvmprobe.scenarios.showing import shows
from tests.support.fake_kernel import trace_along
from tests.support.hosts import AMX_HOST, with_behaviours

SCENARIOS = {s.id: s for s in catalog.scenarios(AMX_HOST)}
CORRECT = ModelRun(AMX_HOST)


def defective(behaviour):
    return ModelRun(with_behaviours(AMX_HOST, behaviour))


def has_several_answers(scenario, model_run):
    """Whether a call has several legal answers, and others than on a correct kernel."""
    pairs = zip(CORRECT.walk(scenario), model_run.walk(scenario), strict=False)
    outcomes = ((one.step.outcome, other.step.outcome) for one, other in pairs)
    return any(isinstance(other, OneOf) and one != other for one, other in outcomes)


def test_a_correct_kernel_shows_nothing():
    other = ModelRun(AMX_HOST)
    sample = list(SCENARIOS.values())[::7]
    assert [s.id for s in sample if shows(s, CORRECT, other)] == []


@pytest.mark.parametrize("behaviour", sorted(DEFECTS, key=lambda d: d.name))
def test_a_defect_shows_where_the_judge_sees_a_divergence(behaviour):
    # The judge compares what a kernel answered, byte by byte, with what a correct one may answer.
    # The judge sees one answer of the defective kernel, which may have others: it may answer alike.
    model_run = defective(behaviour)
    sample = [s for s in SCENARIOS.values() if Need.GUEST_CODE not in s.needs][::17]
    traces = {s.id: trace_along(s, model_run) for s in sample}
    seen = {s.id for s in sample if not agrees_along(s, CORRECT, traces[s.id])}
    died = {name for name, trace in traces.items() if trace.end is End.LOST}
    shown = {s.id for s in sample if shows(s, CORRECT, model_run)}
    several = {s.id for s in sample if has_several_answers(s, model_run)}
    assert (shown - seen - died, (seen | died) - shown - several) == (set(), set())


def test_a_difference_in_what_is_left_open_is_none():
    # O3 discards state; where that was INIT state before, only XINUSE of it may differ.
    model_run = defective(Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE)
    before = "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-zero.bv-zero"
    after = "restore.xsave-cpuid-msrs-xcrs.perm-granted.xfd-zero.bv-legacy"
    assert [shows(SCENARIOS[name], CORRECT, model_run) for name in (before, after)] == [False, True]
