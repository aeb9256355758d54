"""Known defects explain what checkers find after a result without a rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmprobe.abi.numbers import EventFlag
from kvmprobe.checkers.session import Checkers
from kvmprobe.judge.in_doubt import labelled
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.outcome import NotCovered, OneOf
from kvmprobe.results.trace import Reply, TraceStep
from kvmprobe.scenarios import relations
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.scenarios.ops.fpu import FpuContent, GetFpu, SetFpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import SetMsrs
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.vcpu_state import GetVcpuEvents, SetVcpuEvents
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from tests.support.fake_kernel import trace_of, with_reply
from tests.support.hosts import AMD_HOST, AMX_HOST, xstate_bv

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


# The same without KVM_SET_FPU: the image shows INIT state.
INITIAL = replace(SCENARIO, steps=SCENARIO.steps[:4] + SCENARIO.steps[5:])


def findings(trace, scenario=SCENARIO, probed=frozenset()):
    runs = ModelRuns(AMX_HOST)
    found = Checkers(AMX_HOST).within(scenario, trace)
    return [labelled(finding, scenario, runs, trace, probed) for finding in found]


def with_other_fpu(scenario):
    """The trace of a correct kernel, with something else in the last reply, of KVM_GET_FPU."""
    trace = trace_of(scenario, AMX_HOST)
    wrong = b"\x01" * len(trace.steps[-1].replies[0].output)
    return replace(trace, steps=(*trace.steps[:-1], TraceStep((Reply(0, wrong),))))


def test_the_model_judges_nothing_there():
    last = ModelRuns(AMX_HOST).with_defects().walked(SCENARIO)[-1]
    assert isinstance(last.step.outcome, NotCovered)


def test_a_finding_that_a_known_defect_predicts_has_its_label():
    found = findings(trace_of(SCENARIO, AMX_HOST, O2))
    assert [(f.checker, f.known) for f in found] == [("two-views", ("O2",))]


def test_a_finding_that_no_known_defect_predicts_has_none():
    found = findings(with_other_fpu(SCENARIO), probed={O2})
    assert [(f.checker, f.known) for f in found] == [("two-views", ())]


@pytest.mark.parametrize(("probed", "known"), [(set(), ()), ({O2}, ("O2",))])
def test_stale_bytes_beside_init_state_are_those_of_a_kernel_that_has_the_defect(probed, known):
    found = findings(with_other_fpu(INITIAL), INITIAL, probed)
    assert [(f.checker, f.known) for f in found] == [("two-views", known)]


_WATCHED = (ScenarioStep(op, (GetXsave2(),)) for op in STEPS[4:-2])
WATCHED = replace(SCENARIO, steps=(*SCENARIO.steps[:4], *_WATCHED))
BLIND = relations.derive(WATCHED, "blind")


def between_two_runs(change, *probed):
    """What explains that a run without reads ended with another image."""
    checkers, runs = Checkers(AMX_HOST), ModelRuns(AMX_HOST)
    trace = trace_of(BLIND, AMX_HOST)
    image = bytearray(trace.steps[-1].replies[-1].output)
    change(image)
    changed = with_reply(trace, len(trace.steps) - 1, 1, Reply(0, bytes(image)))
    assert checkers.across(WATCHED, trace_of(WATCHED, AMX_HOST), ()) == ()
    found = checkers.across(BLIND, changed, ())
    return [labelled(each, BLIND, runs, changed, frozenset(probed)).known for each in found]


def lose_sse(image):
    # SDM vol.1 §13.4: XMM registers from 160, XSTATE_BV at 512
    image[160:416], image[512] = bytes(256), image[512] & ~2


def lose_avx_as_well(image):
    lose_sse(image)
    image[576] ^= 1


def test_what_one_run_of_a_kernel_with_the_defect_has_lost_and_another_not_is_its_defect():
    assert between_two_runs(lose_sse, O2) == [("O2",)]
    assert between_two_runs(lose_sse) == [()]


def test_other_differences_between_two_runs_are_not():
    assert between_two_runs(lose_avx_as_well, O2) == [()]


O9 = Behaviour.EVENTS_SET_BEFORE_CHECK
# The model has no rule for an exception that is injected.
INJECTED = SetVcpuEvents(EventFlag.TRIPLE_FAULT, (("exception_injected", 16),))
EVENTS = Scenario(
    "random.events",
    "",
    "",
    tuple(map(ScenarioStep, (*STEPS[:4], GetVcpuEvents(), INJECTED, GetVcpuEvents()))),
)


# Once the guest ran, the model knows nothing of the events.
RAN = Scenario(
    "random.ran",
    "",
    "",
    tuple(
        map(ScenarioStep, (*STEPS[:4], RunUntilHalt(), GetVcpuEvents(), INJECTED, GetVcpuEvents()))
    ),
)


def with_events(place, value):
    """A correct kernel's trace of RAN, but for a byte of the last KVM_GET_VCPU_EVENTS."""
    trace = trace_of(RAN, AMX_HOST)
    (reply,) = trace.steps[-1].replies
    events = bytearray(reply.output)
    events[place] = value
    return with_reply(trace, len(trace.steps) - 1, 0, Reply(0, bytes(events)))


def test_events_that_a_failing_call_has_set_are_those_of_the_defect():
    found = findings(trace_of(EVENTS, AMX_HOST, O9), EVENTS)
    assert [(f.checker, f.known) for f in found] == [("failing-call", ("O9",))]


@pytest.mark.parametrize(
    ("place", "probed", "known"),
    # asm/kvm.h: exception.injected is byte 0, exception.nr byte 1.
    [(0, {O9}, ("O9",)), (0, set(), ()), (1, {O9}, ())],
)
def test_after_a_run_it_is_a_kernel_that_has_the_defect_and_events_that_were_given(
    place, probed, known
):
    found = findings(with_events(place, 1), RAN, probed)
    assert [(f.checker, f.known) for f in found] == [("failing-call", known)]


# The save may leave the older SSE state: both answers of KVM_GET_FPU are legal.
REPLACED = Scenario(
    "random.replaced",
    "",
    "",
    tuple(
        map(
            ScenarioStep,
            (*STEPS[:4], SetXsave(7), SetXsave(1), RunImmediateExit(), *STEPS[-3:]),
        )
    ),
)


def test_older_bytes_that_the_image_does_not_have_are_those_of_the_defect():
    host = replace(AMD_HOST, msrs=AMX_HOST.msrs)
    runs, trace = ModelRuns(host), trace_of(REPLACED, host)
    image, area = (known.step.outcome for known in runs.with_defects().walked(REPLACED)[-2:])
    assert isinstance(area, OneOf)
    initial = next(c.image.image for c in image.choices if not xstate_bv(c.image.image) & 2)
    older = next(c.memory.content for c in area.choices if any(c.memory.content[160:]))
    replies = (Reply(0, initial), Reply(0, older))
    seen = replace(trace, steps=(*trace.steps[:-2], *(TraceStep((r,)) for r in replies)))
    [found] = Checkers(host).within(REPLACED, seen)
    assert labelled(found, REPLACED, runs, seen).known == ()
    assert labelled(found, REPLACED, runs, seen, {O2}).known == ("O2",)
