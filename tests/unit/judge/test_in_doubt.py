"""Known defects explain what checkers find after a result without a rule."""

from __future__ import annotations

from dataclasses import replace

from kvmprobe.checkers.session import Checkers
from kvmprobe.judge.in_doubt import labelled
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.outcome import NotCovered
from kvmprobe.results.trace import Reply, TraceStep
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.scenarios.ops.fpu import FpuContent, GetFpu, SetFpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import SetMsrs
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST

O2 = Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV
# KVM may take this MSR or refuse it.  KVM_RUN depends on everything that it may have changed.
NO_RULE = SetMsrs(((0x7C025, 1),))
STEPS = (
    OpenKvm(),
    CreateVm(),
    MapHalt(),
    CreateVcpu(),
    SetFpu(FpuContent.FIRST),
    NO_RULE,
    RunUntilHalt(),
    GetXsave2(),
    GetFpu(),
)
SCENARIO = Scenario("random.doubt", "", "", tuple(map(ScenarioStep, STEPS)))


def findings(trace):
    runs = ModelRuns(AMX_HOST)
    found = Checkers(AMX_HOST).within(SCENARIO, trace)
    return [labelled(finding, SCENARIO, runs, trace) for finding in found]


def test_the_model_judges_nothing_there():
    last = ModelRuns(AMX_HOST).with_defects().walked(SCENARIO)[-1]
    assert isinstance(last.step.outcome, NotCovered)


def test_a_finding_that_a_known_defect_predicts_has_its_label():
    found = findings(trace_of(SCENARIO, AMX_HOST, O2))
    assert [(f.checker, f.known) for f in found] == [("two-views", ("O2",))]


def test_a_finding_that_no_known_defect_predicts_has_none():
    trace = trace_of(SCENARIO, AMX_HOST)
    wrong = b"\x01" * len(trace.steps[-1].replies[0].output)
    other = replace(trace, steps=(*trace.steps[:-1], TraceStep((Reply(0, wrong),))))
    assert [(f.checker, f.known) for f in findings(other)] == [("two-views", ())]
