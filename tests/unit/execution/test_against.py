"""Two kernels that differ: the names that explain it, or a difference to look at."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from kvmprobe.execution.against import FACTS, LISTED, NESTED, Named, Side, first_difference
from kvmprobe.judge.verdicts import judged
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.one_reg import msr_id
from kvmprobe.results.record import Target
from kvmprobe.results.trace import Reply
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.scenarios.ops.cpuid import GetCpuid2, GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.fpu import FpuContent, SetFpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetMsrs, SetMsrs
from kvmprobe.scenarios.ops.one_reg import GetOneReg
from kvmprobe.scenarios.ops.permission import RequestPermission
from kvmprobe.scenarios.ops.run import RunSynced, RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs2, SetSregs2
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.search.signature import Signature
from kvmprobe.xstate.cpuid import CpuidTable
from tests.support.fake_kernel import trace_of, with_reply
from tests.support.hosts import AMX_HOST, AVX512_HOST, cet_host, with_behaviours

TARGET = Target("lab", "7.3.4", "a fake")
O2 = Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV
APX = Behaviour.KNOWS_APX
START = (OpenKvm(), CreateVm(), CreateVcpu())
LAST = len(START)


def scenario(*ops):
    return Scenario("a", "", "", tuple(map(ScenarioStep, (*START, *ops))))


def side(of, host, changed=None):
    trace = trace_of(of, host, *host.behaviours)
    if changed is not None:
        trace = with_reply(trace, *changed)
    runs = ModelRuns(host)
    return Side(judged(of, host, trace, TARGET, model_runs=runs), trace, runs)


def between(of, here, there):
    return first_difference(of, side(of, here), side(of, there))


def test_equal_kernels_do_not_differ():
    assert between(scenario(SetFpu(FpuContent.FIRST), GetXsave2()), AMX_HOST, AMX_HOST) is None


def test_a_known_defect_of_one_is_its_name():
    of = scenario(SetFpu(FpuContent.FIRST), GetXsave2())
    assert between(of, AMX_HOST, with_behaviours(AMX_HOST, O2)) == Named(("O2",))


def test_a_behaviour_of_one_is_its_name():
    # KNOWS_APX: component 19 is known, and not dynamic: EOPNOTSUPP, else EINVAL.
    of = scenario(RequestPermission(19))
    assert between(of, AMX_HOST, with_behaviours(AMX_HOST, APX)) == Named((APX.name,))


def test_what_the_hosts_offer_is_a_fact():
    assert between(scenario(GetSupportedCpuid()), AMX_HOST, AVX512_HOST) == Named((FACTS,))


@pytest.fixture
def without_a_rule():
    # The model has no rule for a write of this MSR: either result is possible.
    return scenario(SetMsrs(((0x7C025, 1),)))


def test_a_difference_without_a_rule_has_no_name(without_a_rule):
    (reply,) = trace_of(without_a_rule, AMX_HOST).steps[LAST].replies
    sides = (
        side(without_a_rule, AMX_HOST, (LAST, 0, replace(reply, result=result)))
        for result in (0, 1)
    )
    found = first_difference(without_a_rule, *sides)
    assert found.kind == "kernels-differ"
    assert found.where == ("KVM_SET_MSRS", "MSR 0x7c025", "0 here, 1 there")


def test_an_msr_that_only_one_host_lists_has_a_name(without_a_rule):
    (reply,) = trace_of(without_a_rule, AMX_HOST).steps[LAST].replies
    lists = replace(AMX_HOST, msrs=AMX_HOST.msrs | {0x7C025})
    sides = (
        side(without_a_rule, host, (LAST, 0, replace(reply, result=result)))
        for host, result in ((lists, 1), (AMX_HOST, 0))
    )
    assert first_difference(without_a_rule, *sides) == Named((LISTED,))


def test_what_the_examples_of_two_hosts_differ_in_is_a_fact(without_a_rule):
    # After an MSR without a rule KVM_GET_CPUID2 is not judged; the tables are those of the hosts.
    doubt = (step.op for step in without_a_rule.steps[LAST:])
    of = scenario(SetCpuid2(Table.NO_AMX), *doubt, GetCpuid2(64))
    fewer = CpuidTable(AMX_HOST.supported.entries[:-1])
    assert between(of, AMX_HOST, replace(AMX_HOST, supported=fewer)) == Named((FACTS,))


@pytest.mark.parametrize(("op", "result"), [(GetMsrs((0x48C,)), 1), (GetOneReg(msr_id(0x48C)), 0)])
def test_capabilities_of_vmx_are_what_a_kernel_lets_nested_guests_have(op, result):
    # SDM vol.3 appendix A.10: IA32_VMX_EPT_VPID_CAP; 6.18.12 and 7.3.4 differ in it.
    of, host = scenario(op), with_behaviours(AMX_HOST, Behaviour.ONE_REG_MSRS)
    (reply,) = trace_of(of, host).steps[LAST].replies
    content = (reply.output or bytes(24))[:-8]
    replies = [
        (LAST, 0, replace(reply, result=result, output=content + bytes([n] * 8))) for n in (1, 2)
    ]
    assert first_difference(of, *(side(of, host, r) for r in replies)) == Named((NESTED,))


def test_the_time_may_differ():
    of = scenario(GetMsrs((0x10,)))
    (reply,) = trace_of(of, AMX_HOST).steps[LAST].replies
    # struct kvm_msrs: the value is the last 8 of 24 bytes.
    sides = (
        side(of, AMX_HOST, (LAST, 0, replace(reply, output=reply.output[:-8] + bytes([n] * 8))))
        for n in (1, 2)
    )
    assert first_difference(of, *sides) is None


def test_a_behaviour_that_the_call_itself_depends_on_is_its_name_also_in_doubt(without_a_rule):
    # After the MSR without a rule, KVM_RUN leaves everything in doubt.
    doubt = (step.op for step in without_a_rule.steps[LAST:])
    of = scenario(MapHalt(), *doubt, RunUntilHalt(), GetOneReg(msr_id(0x1C4)))
    registers = Behaviour.ONE_REG_MSRS
    found = between(of, with_behaviours(AMX_HOST, registers), AMX_HOST)
    assert found == Named((registers.name,))


def test_a_defect_that_the_call_itself_depends_on_is_its_name_also_in_doubt(without_a_rule):
    doubt = (step.op for step in without_a_rule.steps[LAST:])
    of = scenario(MapHalt(), *doubt, RunSynced(dirty=1 << 59))
    broken = with_behaviours(AMX_HOST, Behaviour.SYNC_UPPER_HALF_IGNORED)
    assert between(of, AMX_HOST, broken) == Named(("B19",))


def test_a_cr4_that_the_other_host_refuses_names_the_behaviour():
    # kvm_is_valid_sregs: CR4 is looked at, whatever the other registers are
    of = scenario(GetSregs2(), SetSregs2(1 << 18, (("ldt_l", 0),)))
    strict = with_behaviours(AMX_HOST, Behaviour.CR4_NEEDS_CPUID)
    accepted = side(of, AMX_HOST, (LAST + 1, 0, Reply(0, b"")))
    assert first_difference(of, side(of, strict), accepted) == Named(("CR4_NEEDS_CPUID",))


def test_an_efer_bit_of_some_cpus_names_the_kernel_that_does_not_check_it():
    # AMD64 APM vol.2 §3.1.7: LMSLE is bit 13; a CPU without it refuses it.
    of = scenario(GetSregs2(), SetSregs2(0, (("efer", 1 << 13),)))
    refused = side(of, AMX_HOST, (LAST + 1, 0, Reply(-errno.EINVAL, b"")))
    unchecked = with_behaviours(AMX_HOST, Behaviour.SREGS_EFER_NOT_CHECKED)
    accepted = side(of, unchecked, (LAST + 1, 0, Reply(0, b"")))
    assert first_difference(of, refused, accepted) == Named(("B18",))


@pytest.mark.parametrize(("there", "found"), [(-errno.EINVAL, Named), (-errno.EIO, Signature)])
def test_a_cr4_that_only_one_host_knows_is_a_fact(there, found):
    # SDM vol.3 §2.5: CR4.CET; whether KVM takes the other register, the model does not say.
    ops = (GetSupportedCpuid(), SetCpuid2(), GetSregs2(), SetSregs2(1 << 23, (("gs_dpl", 0),)))
    of = scenario(*ops)
    knows = side(of, cet_host(), (LAST + 3, 0, Reply(0, b"")))
    does_not = side(of, AMX_HOST, (LAST + 3, 0, Reply(there, b"")))
    assert isinstance(first_difference(of, knows, does_not), found)


def images_in_doubt(without_a_rule, *outputs):
    """Two kernels whose images are these; the model judges neither."""
    doubt = (step.op for step in without_a_rule.steps[LAST:])
    of = scenario(MapHalt(), *doubt, RunUntilHalt(), GetXsave2())
    last = len(of.steps) - 1
    (reply,) = trace_of(of, AMX_HOST).steps[last].replies
    sides = (
        side(of, AMX_HOST, (last, 0, replace(reply, output=change(reply.output))))
        for change in outputs
    )
    return first_difference(of, *sides)


def with_bytes(offset, content):
    return lambda image: image[:offset] + content + image[offset + len(content) :]


def with_sse(content):
    # SDM vol.1 §13.4.2: XSTATE_BV is at 512; §10.5.1: XMM0 is at 160.
    return lambda image: with_bytes(160, content)(with_bytes(512, b"\x02")(image))


def test_images_without_a_rule_that_differ_have_no_name(without_a_rule):
    found = images_in_doubt(without_a_rule, with_sse(b"\x11"), with_sse(b"\x22"))
    assert found.where == ("KVM_GET_XSAVE2", "SSE (XMM)")


def test_what_the_processor_decides_in_an_image_may_differ(without_a_rule):
    # SDM vol.1 §8.1.9: FIP, at 8, is of the last instruction that was not a control instruction.
    changes = (with_bytes(8, bytes([n])) for n in (1, 2))
    assert images_in_doubt(without_a_rule, *changes) is None
