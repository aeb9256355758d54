"""Which differences between two orders of calls are findings."""

from __future__ import annotations

import pytest

from kvmprobe.checkers.session import Checkers
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import ImageDiffers
from kvmprobe.results.record import Statement
from kvmprobe.scenarios.catalog.restore import OBSERVERS
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import SetMsrs, SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST, B18, cet_host

O1 = Behaviour.XFD_WRITE_KEEPS_XSTATE_BV
B1 = Behaviour.SET_XSAVE_KEEPS_XFD_ARMED
O3 = Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE
START = (RequestGuestPermission(18), OpenKvm(), CreateVm(), MapHalt(), CreateVcpu())
CPUID = SetCpuid2(Table.FULL)
ARM, DISARM = SetXfd(B18), SetXfd(0)
TILES, LEGACY = SetXsave(0x60003), SetXsave(0x3)
RUN = RunUntilHalt()


def scenario(name, *ops):
    steps = [ScenarioStep(op) for op in START]
    return Scenario(name, name, "", (*steps, *(ScenarioStep(op, OBSERVERS) for op in ops)))


def compared(one, other, *behaviours, known=((), ()), host=AMX_HOST):
    """What is found in the second of two orders."""
    checkers = Checkers(host)
    for name, ops, labels in (("one", one, known[0]), ("other", other, known[1])):
        run = scenario(name, *ops)
        found = checkers.across(run, trace_of(run, host, *behaviours), labels)
    return found


def test_an_msr_that_is_ignored_before_cpuid_is_no_silent_difference():
    # Linux arch/x86/kvm/x86.c: kvm_do_msr_access, ignore_msrs; XSS needs XSAVES in CPUID
    variants = (Behaviour.UNSUPPORTED_MSRS_IGNORED, Behaviour.XSS_FOLLOWS_CPUID)
    host, xss = cet_host(*variants), SetMsrs(((0xDA0, 0x1800),))
    assert compared((CPUID, xss), (xss, CPUID), *variants, host=host) == ()


def test_a_silent_difference_names_both_scenarios_and_both_calls():
    (found,) = compared((CPUID, LEGACY), (LEGACY, CPUID), O3)
    assert found.other == "one"
    assert found.statement == Statement(Claim.ORDER_MATTERS, {}, (CPUID, LEGACY))


def test_a_silent_difference_lists_components():
    (found,) = compared((CPUID, LEGACY), (LEGACY, CPUID), O3)
    images = [d.difference for d in found.details if isinstance(d.difference, ImageDiffers)]
    parts = {run.where for image in images for run in image.runs}
    assert {"MXCSR", "SSE (XMM)", "XSTATE_BV"} <= parts


def test_on_a_correct_kernel_the_order_does_not_matter():
    assert compared((CPUID, LEGACY), (LEGACY, CPUID)) == ()


def test_an_order_that_fails_with_an_error_is_not_a_finding():
    # contract §9 U,X: X;U is EINVAL, and XCR0 stays 1
    every = SetXcrs(0x602E7)
    assert compared((CPUID, every), (every, CPUID)) == ()


def test_the_state_before_the_load_counts():
    (found,) = compared((CPUID, ARM, TILES, RUN), (CPUID, TILES, ARM, RUN), O1)
    assert found.step == len(START) + 2


def test_one_order_that_crashes_is_still_compared():
    one, other = (CPUID, TILES, ARM, RUN), (CPUID, ARM, TILES, RUN)
    assert len(compared(one, other, O1)) == len(compared(other, one, O1)) == 1


def test_disarming_before_the_restore_may_keep_the_component():
    # contract §9 "A,F then F0": F;A;F0 drops it, SDM vol.1 13.14
    assert compared((CPUID, ARM, TILES, DISARM), (CPUID, ARM, DISARM, TILES)) == ()


def test_disarming_what_was_never_armed_must_not_matter():
    # INV-37: a difference here is not legal, so the exception must not cover it
    assert compared((CPUID, TILES, DISARM), (CPUID, DISARM, TILES)) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [(SetXcrs(1), SetXcrs(7)), (TILES, LEGACY), (ARM, DISARM)],
    ids=["xcr0", "xstate", "xfd"],
)
def test_the_last_of_two_writes_to_the_same_state_wins(one, other):
    assert compared((CPUID, one, other), (CPUID, other, one)) == ()


def test_two_swaps_are_not_compared():
    one, other = (CPUID, LEGACY, SetXcrs(7), ARM), (LEGACY, CPUID, ARM, SetXcrs(7))
    assert compared(one, other, O3) == ()


def test_a_load_between_the_calls_may_change_bits_of_init_components():
    # contract §7.5: bits with INIT content may be set or not
    assert compared((CPUID, RUN, SetXsave(0)), (CPUID, SetXsave(0), RUN)) == ()


def test_content_that_a_load_loses_is_a_difference():
    assert compared((CPUID, TILES, RUN, ARM), (CPUID, TILES, ARM, RUN)) == ()


def test_a_defect_that_explains_one_scenario_explains_the_pair():
    known = ((), ("O3",))
    (found,) = compared((CPUID, LEGACY), (LEGACY, CPUID), O3, known=known)
    assert found.known == ("O3",)


def test_a_scenario_that_runs_again_gets_the_same_findings():
    # The gate stopped it before a fatal load; then it ran without the gate.
    checkers = Checkers(AMX_HOST)
    first, second = scenario("one", CPUID, LEGACY), scenario("other", LEGACY, CPUID)
    checkers.across(first, trace_of(first, AMX_HOST, O3), ())
    trace = trace_of(second, AMX_HOST, O3)
    assert checkers.across(second, trace, ()) == checkers.across(second, trace, ()) != ()
