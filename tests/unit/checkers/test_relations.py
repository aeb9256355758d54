"""A derived scenario and its base: what both do must come out the same."""

from __future__ import annotations

import errno
import struct

import pytest

from kvmprobe.checkers.session import Checkers
from kvmprobe.results.difference import ResultDiffers
from kvmprobe.results.trace import Reply
from kvmprobe.scenarios import relations
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetMsrs
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from tests.support.fake_kernel import trace_of, with_reply
from tests.support.hosts import AMX_HOST

READS = (GetXsave2(), GetXcrs())
START = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu(), GetSupportedCpuid(), SetCpuid2())
# SDM vol.1 13.1: XSTATE_BV is at byte 512 of the image; PKRU is component 9.
XSTATE_BV = 512
LAST = 7


def base_of(*ops):
    start = (ScenarioStep(op) for op in START)
    return Scenario("test.row", "row", "", (*start, *(ScenarioStep(op, READS) for op in ops)))


BASE = base_of(SetXsave(3), SetXcrs(7))
TWIN = relations.derive(BASE, "blind")
RAN = base_of(SetXsave(3), RunUntilHalt())
RAN_TWIN = relations.derive(RAN, "blind")


def found(first, second, changed=None, known=((), ())):
    """What is found in the second of two traces, one reply of which may be exchanged.

    :param changed: step, position and the new reply
    """
    checkers = Checkers(AMX_HOST)
    traces = [trace_of(scenario, AMX_HOST) for scenario in (first, second)]
    if changed:
        traces[1] = with_reply(traces[1], *changed)
    assert checkers.across(first, traces[0], known[0]) == ()
    return checkers.across(second, traces[1], known[1])


def output_of(scenario, step, position):
    return bytearray(trace_of(scenario, AMX_HOST).steps[step].replies[position].output)


def test_two_that_agree_have_no_finding():
    assert found(BASE, TWIN) == found(TWIN, BASE) == ()


def test_a_result_that_depends_on_reading_is_found():
    (one,) = found(BASE, TWIN, changed=(LAST, 0, Reply(-errno.EINVAL)))
    assert (one.checker, one.invariant, one.step, one.other) == (
        "observation",
        "INV-44",
        LAST,
        "test.row",
    )
    # The first of the two is the reply of the scenario whose record has the finding.
    assert one.details[0].difference == ResultDiffers(-errno.EINVAL, 0)


def test_it_is_found_whichever_of_the_two_runs_first():
    (one,) = found(TWIN, BASE, changed=(LAST, 0, Reply(-errno.EINVAL)))
    assert (one.checker, one.other) == ("observation", "test.row.blind")


def test_a_state_that_depends_on_reading_is_found():
    output = output_of(TWIN, LAST, 2)
    struct.pack_into("<Q", output, 16, 1)  # struct kvm_xcrs: XCR0
    (one,) = found(BASE, TWIN, changed=(LAST, 2, Reply(0, bytes(output))))
    assert one.details[0].op == GetXcrs()


def test_content_that_depends_on_reading_is_found():
    output = output_of(TWIN, LAST, 1)
    output[160] ^= 0xFF  # XMM0
    assert len(found(BASE, TWIN, changed=(LAST, 1, Reply(0, bytes(output))))) == 1


def found_where_msr_differs(index):
    """What is found where two scenarios read two values of an MSR, in struct kvm_msrs."""
    base = base_of(SetXsave(3), GetMsrs((index,)))
    checkers, seen = Checkers(AMX_HOST), []
    for value, scenario in enumerate((base, relations.derive(base, "blind"))):
        reply = Reply(1, struct.pack("<IIIIQ", 1, 0, index, 0, value))
        trace = with_reply(trace_of(scenario, AMX_HOST), LAST, 0, reply)
        seen += checkers.across(scenario, trace, ())
    return [finding.checker for finding in seen]


def test_the_time_may_be_another_one():
    # IA32_TIME_STAMP_COUNTER: SDM vol.4 table 2-2.
    assert found_where_msr_differs(0x10) == []


def test_an_msr_that_does_not_move_is_compared():
    # IA32_PAT
    assert found_where_msr_differs(0x277) == ["observation"]


@pytest.mark.parametrize(("base", "twin", "count"), [(RAN, RAN_TWIN, 0), (BASE, TWIN, 1)])
def test_a_bit_that_a_load_may_set_matters_only_where_nothing_was_loaded(base, twin, count):
    # contract §7.5: XSTATE_BV[9] follows the host's PKRU
    output = output_of(twin, LAST, 1)
    output[XSTATE_BV + 1] |= 2
    assert len(found(base, twin, changed=(LAST, 1, Reply(0, bytes(output))))) == count


def test_a_defect_that_explains_one_of_the_two_explains_the_difference():
    changed = (LAST, 0, Reply(-errno.EINVAL))
    (one,) = found(BASE, TWIN, changed=changed, known=((), ("O3",)))
    assert one.known == ("O3",)


def test_what_only_one_of_them_reached_is_not_compared():
    checkers = Checkers(AMX_HOST)
    trace = trace_of(TWIN, AMX_HOST)
    checkers.across(BASE, trace_of(BASE, AMX_HOST), ())
    cut = type(trace)(trace.steps[:LAST])
    assert checkers.across(TWIN, cut, ()) == ()


def test_a_scenario_that_runs_again_gets_the_same_findings():
    checkers = Checkers(AMX_HOST)
    checkers.across(BASE, trace_of(BASE, AMX_HOST), ())
    trace = with_reply(trace_of(TWIN, AMX_HOST), LAST, 0, Reply(-errno.EINVAL))
    assert checkers.across(TWIN, trace, ()) == checkers.across(TWIN, trace, ()) != ()
