"""Sets of known defects that may explain a trace: the smallest first, and none that must fail."""

from __future__ import annotations

from kvmprobe.judge.defect_sets import DefectSets
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from tests.support.hosts import AMX_HOST

A, B, C = (
    Behaviour.EVENTS_SET_BEFORE_CHECK,
    Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV,
    Behaviour.SREGS_EFER_NOT_CHECKED,
)


def steps_that_ask(*behaviours):
    """The steps of a model run that asked for these alone."""
    ops = map(ScenarioStep, (OpenKvm(), CreateVm(), CreateVcpu(), GetXsave2()))
    walked = ModelRun(AMX_HOST).walked(Scenario("a", "", "", tuple(ops)))
    asked = [frozenset(), frozenset(behaviours)]
    return [type(k)(k.before, k.step, a) for k, a in zip(walked, asked, strict=False)]


def test_every_set_comes_the_smallest_first():
    sets = list(DefectSets((A, B, C)))
    assert (len(sets), len({*sets})) == (7, 7)
    assert [*map(len, sets)] == [1, 1, 1, 2, 2, 2, 3]


def test_a_set_with_the_same_of_the_defects_asked_for_is_ruled_out():
    sets = DefectSets((A, B, C))
    sets.rule_out(frozenset({A}), steps_that_ask(A, B))
    assert [*sets] == [{B}, {C}, {A, B}, {B, C}, {A, B, C}]


def test_what_is_ruled_out_on_the_way_does_not_come():
    sets, seen = DefectSets((A, B, C)), []
    for chosen in sets:
        seen.append(chosen)
        sets.rule_out(chosen, steps_that_ask(A))
    # Without A, then with it: the answer does not depend on the others.
    assert seen == [{A}, {B}]
