"""Reducing: what is left fails as before, and nothing of it can be left out."""

from __future__ import annotations

from functools import partial

import pytest

from kvmprobe.judge.verdicts import judged
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.record import Target
from kvmprobe.scenarios.domain import judgeable
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.fpu import FpuContent, GetFpu, SetFpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.literal import SetCpuid2Template
from kvmprobe.scenarios.ops.msrs import GetMsrs, SetMsrs, SetXfd, SetXfdAsleep
from kvmprobe.scenarios.ops.one_reg import SetOneReg
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs
from kvmprobe.scenarios.ops.vcpu_state import GetRegs
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.search.shrink import Budget, Shrinker
from kvmprobe.search.signature import Explained, signatures_of
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST

O1 = Behaviour.XFD_WRITE_KEEPS_XSTATE_BV
O2 = Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV
O3 = Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE
TARGET = Target("lab", "7.3.4", "a fake")
LONG = Scenario(
    "long",
    "",
    "",
    (
        *map(ScenarioStep, (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu())),
        *(ScenarioStep(SetXcrs(xcr0), (GetXcrs(), GetXsave2())) for xcr0 in range(10)),
        ScenarioStep(SetXsave(0x2E7), (GetXsave2(),)),
    ),
)


def signatures(scenario, defect):
    record = judged(scenario, AMX_HOST, trace_of(scenario, AMX_HOST, defect), TARGET)
    return signatures_of(record, Explained.BY_NOTHING)


def fails(defect, wanted, candidates):
    return [wanted in signatures(candidate, defect) for candidate in candidates]


START = (
    *(OpenKvm(), RequestGuestPermission(18), CreateVm(), MapHalt(), CreateVcpu()),
    *(GetSupportedCpuid(), GetRegs(), GetFpu()),
)
SHOWING = {
    O1: (SetCpuid2(), GetSregs(), SetXsave(0x602E7), SetXcrs(0x602E7), SetXfd(1 << 18)),
    O2: (SetCpuid2(), SetXfd(1 << 18), SetXcrs(7), SetFpu(FpuContent.FIRST), SetXcrs(1)),
    O3: (SetXcrs(1), SetXsave(0x2E7), GetXcrs(), SetCpuid2(), SetXcrs(3), SetXfd(1 << 18)),
}
READS = (GetXcrs(), GetXsave2(), GetMsrs((0x1C4, 0x1C5)))


@pytest.mark.parametrize("defect", SHOWING, ids=lambda defect: defect.name)
def test_a_long_scenario_comes_down_to_a_few_ops_with_the_same_signature(defect):
    steps = (
        ScenarioStep(op, READS if n > 5 else ()) for n, op in enumerate((*START, *SHOWING[defect]))
    )
    scenario = Scenario("long", "", "", tuple(steps))
    wanted = signatures(scenario, defect)[0]
    small = Shrinker(scenario, AMX_HOST, partial(fails, defect, wanted)).run()
    ops = [op for _, op in small.ops()]
    assert wanted in signatures(small, defect)
    assert judgeable(ops, AMX_HOST)
    assert len(small.steps) <= 8, [op.text for op in ops]


def sets_xsave(candidates):
    return [any(isinstance(op, SetXsave) for _, op in s.ops()) for s in candidates]


def test_what_an_op_depends_on_stays():
    small = Shrinker(LONG, AMX_HOST, sets_xsave).run()
    ops = [op for _, op in small.ops()]
    assert ops == [OpenKvm(), CreateVm(), CreateVcpu(), SetXsave(0)]


def test_values_are_as_simple_as_they_can_be():
    def sets_bit_9(candidates):
        ops = ([op for _, op in s.ops() if isinstance(op, SetXsave)] for s in candidates)
        return [any(op.xstate_bv >> 9 & 1 for op in found) for found in ops]

    small = Shrinker(LONG, AMX_HOST, sets_bit_9).run()
    assert small.steps[-1].op == SetXsave(1 << 9)


VCPU = (OpenKvm(), CreateVm(), CreateVcpu())


def reduced_ops(steps, stays):
    scenario = Scenario("long", "", "", tuple(map(ScenarioStep, steps)))
    small = Shrinker(scenario, AMX_HOST, lambda candidates: [*map(stays, candidates)]).run()
    return tuple(op for _, op in small.ops())


def has(*interfaces):
    """Return whether a scenario has these calls, in this order."""

    def stays(scenario):
        left = iter(op.interface for _, op in scenario.ops())
        return all(interface in left for interface in interfaces)

    return stays


def test_an_entry_into_the_guest_becomes_one_that_needs_no_memory():
    steps = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu(), RunUntilHalt())
    assert reduced_ops(steps, has("KVM_RUN")) == (*VCPU, RunImmediateExit())


def test_an_entry_that_has_to_execute_the_guest_stays():
    def halts(scenario):
        return RunUntilHalt() in [op for _, op in scenario.ops()]

    steps = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu(), RunUntilHalt())
    assert reduced_ops(steps, halts) == steps


def test_a_table_that_another_call_returned_becomes_one_that_needs_no_other_call():
    steps = (*VCPU, GetSupportedCpuid(), SetCpuid2())
    assert reduced_ops(steps, has("KVM_SET_CPUID2")) == (*VCPU, SetCpuid2Template(()))


# KVM_X86_REG_MSR(0x1c4): arch/x86/include/uapi/asm/kvm.h
XFD_REGISTER = 0x2030_0002_0000_01C4
XFD_WRITES = [
    SetXfdAsleep(1 << 18),
    SetMsrs(((0x1C4, 1 << 18),)),
    SetOneReg(XFD_REGISTER, 1 << 18),
]


@pytest.mark.parametrize("op", XFD_WRITES, ids=lambda op: op.name)
def test_an_unusual_write_of_xfd_becomes_the_usual_one(op):
    def arms_xfd(scenario):
        return not {op, SetXfd(1 << 18)}.isdisjoint(made for _, made in scenario.ops())

    assert reduced_ops((*VCPU, op), arms_xfd) == (*VCPU, SetXfd(1 << 18))


RESTORES = (SetXsave(1), SetXcrs(1), SetXfd(1))


def test_calls_come_into_the_order_of_a_restore_where_it_does_not_matter():
    def has_all(scenario):
        return set(RESTORES) <= {op for _, op in scenario.ops()}

    assert reduced_ops((*VCPU, *RESTORES), has_all) == (*VCPU, *reversed(RESTORES))


def test_the_order_that_a_failure_needs_stays():
    needed = has("KVM_SET_XSAVE", "KVM_SET_MSRS")
    ops = reduced_ops((*VCPU, *RESTORES), needed)
    assert [op.interface for op in ops[3:]] == ["KVM_SET_XSAVE", "KVM_SET_MSRS"]


def test_a_budget_of_no_trials_leaves_the_scenario_as_it_is():
    shrinker = Shrinker(LONG, AMX_HOST, sets_xsave, budget=Budget(trials=0))
    assert (shrinker.run(), shrinker.trials) == (LONG, 0)


def test_a_budget_of_no_time_leaves_the_scenario_as_it_is():
    seconds = iter(range(1000))
    budget = Budget(seconds=0)
    shrinker = Shrinker(LONG, AMX_HOST, sets_xsave, budget=budget, clock=lambda: next(seconds))
    assert (shrinker.run(), shrinker.trials) == (LONG, 0)


def test_an_interruption_leaves_the_best_so_far():
    batches = iter(range(100))

    def interrupted(candidates):
        if next(batches) == 8:
            raise KeyboardInterrupt
        return sets_xsave(candidates)

    shrinker = Shrinker(LONG, AMX_HOST, interrupted)
    with pytest.raises(KeyboardInterrupt):
        shrinker.run()
    assert sets_xsave([shrinker.best]) == [True]
    assert len(shrinker.best.steps) < len(LONG.steps)
