"""Checkers of register structures: replies of a correct kernel, one of them changed by hand."""

from __future__ import annotations

import errno
import struct

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import KvmExit
from kvmprobe.checkers.acceptance import RESERVED
from kvmprobe.checkers.normal_registers import bits_of, kept
from kvmprobe.checkers.session import Checkers
from kvmprobe.model.one_reg import msr_id
from kvmprobe.results.trace import Reply
from kvmprobe.scenarios.ops.fpu import FpuContent, GetFpu, SetFpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetMsrs, SetMsrs
from kvmprobe.scenarios.ops.one_reg import GetOneReg
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, GetSregs2, SetSregs
from kvmprobe.scenarios.ops.vcpu_state import (
    GetDebugregs,
    GetRegs,
    GetVcpuEvents,
    SetDebugregs,
    SetRegs,
    SetVcpuEvents,
)
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from tests.support.fake_kernel import trace_of, with_reply
from tests.support.hosts import AMX_HOST

VCPU = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu())
CR3 = SetSregs(0, (("cr3", 0x1000),))
# An MSR that the model has no rule for.
LSTAR = 0xC000_0082


def claims(ops, *changes):
    """The claims of the checkers on a correct trace with some replies exchanged.

    :param changes: number of the op from the end, result, and (layout, member, value) or None
    """
    scenario = Scenario("test", "test", "", tuple(ScenarioStep(op) for op in (*VCPU, *ops)))
    trace = trace_of(scenario, AMX_HOST)
    for place, result, change in changes:
        number = len(scenario.steps) + place
        output = bytearray(trace.steps[number].replies[0].output or b"")
        if change:
            offset, code, value = change
            struct.pack_into(f"<{code}", output, offset, value)
        trace = with_reply(trace, number, 0, Reply(result, bytes(output) or None))
    found = Checkers(AMX_HOST).within(scenario, trace)
    return {(f.checker, f.statement.claim.name) for f in found}


def member(layout, name, value):
    return (*layout.numbers[name], value)


def test_what_a_correct_kernel_does_is_no_finding():
    ops = (GetRegs(), SetRegs(5), GetRegs(), GetSregs(), CR3, GetSregs(), GetSregs2())
    assert claims(ops) == set()


def test_a_register_that_does_not_come_back_is_found():
    changed = (-1, 0, member(ioctls.KVM_REGS, "r9", 7))
    assert claims((GetRegs(), SetRegs(5), GetRegs()), changed) == {("round-trip", "NOT_KEPT")}


def test_a_member_of_sregs_that_does_not_come_back_is_found():
    accepted = (-2, 0, None)
    read = (-1, 0, member(ioctls.KVM_SREGS, "cr3", 0x2000))
    assert claims((GetSregs(), CR3, GetSregs()), accepted, read) == {("round-trip", "NOT_KEPT")}


def test_fcw_that_does_not_come_back_is_found():
    changed = (-1, 0, member(ioctls.KVM_FPU, "fcw", 0x123))
    assert ("round-trip", "NOT_KEPT") in claims((SetFpu(FpuContent.FIRST), GetFpu()), changed)


def test_a_refused_call_that_changes_a_register_is_found():
    ops = (GetDebugregs(), SetDebugregs(flags=1), GetDebugregs())
    changed = (-1, 0, member(ioctls.KVM_DEBUGREGS, "db0", 7))
    assert claims(ops, changed) == {("failing-call", "CHANGED_BY_REFUSED")}


def test_a_call_that_changes_other_registers_is_found():
    ops = (GetRegs(), GetDebugregs(), SetDebugregs(5), GetRegs())
    changed = (-1, 0, member(ioctls.KVM_REGS, "rax", 7))
    assert claims(ops, changed) == {("isolation", "CHANGED_BY_OTHERS")}


def test_a_register_that_changes_by_itself_is_found():
    changed = (-1, 0, member(ioctls.KVM_REGS, "rax", 7))
    assert claims((GetRegs(), GetRegs()), changed) == {("steady-read", "UNSTEADY")}


def test_two_views_of_sregs_that_differ_are_found():
    changed = (-1, 0, member(ioctls.KVM_SREGS2, "idt_limit", 7))
    assert claims((GetSregs(), GetSregs2()), changed) == {("two-views", "SREGS_AND_SREGS2")}


def test_an_msr_that_does_not_come_back_is_found():
    ops = (SetMsrs(((LSTAR, 5),)), GetMsrs((LSTAR,)))
    read = (-1, 1, (16, "Q", 6))
    assert claims(ops, (-2, 1, None), read) == {("round-trip", "REGISTER_NOT_KEPT")}


def test_an_msr_that_was_not_processed_may_have_another_value():
    ops = (SetMsrs(((LSTAR, 5),)), GetMsrs((LSTAR,)))
    assert claims(ops, (-2, 0, None), (-1, 1, (16, "Q", 6))) == set()


def test_two_views_of_an_msr_that_differ_are_found():
    ops = (GetMsrs((LSTAR,)), GetOneReg(msr_id(LSTAR)))
    changes = ((-2, 1, (16, "Q", 6)), (-1, 0, (16, "Q", 7)))
    assert claims(ops, *changes) == {("two-views", "TWO_VALUES")}


def test_a_counter_may_move():
    ops = (GetMsrs((0x10,)), GetOneReg(msr_id(0x10)))
    assert claims(ops, (-2, 1, (16, "Q", 6)), (-1, 0, (16, "Q", 7))) == set()


def test_a_reserved_bit_that_is_accepted_is_found():
    ops = (GetVcpuEvents(), SetVcpuEvents(1 << 31))
    assert claims(ops, (-1, 0, None)) == {("acceptance", "RESERVED_ACCEPTED")}


def test_general_registers_that_are_refused_are_found():
    refused = (-1, -errno.EINVAL, None)
    assert claims((GetRegs(), SetRegs(5)), refused) == {("acceptance", "LEGAL_REFUSED")}


def test_what_get_returned_and_set_refuses_is_found():
    refused = (-1, -errno.EINVAL, None)
    ops = (GetDebugregs(), SetDebugregs())
    assert claims(ops, refused) == {("acceptance", "LEGAL_REFUSED")}


@pytest.mark.parametrize(("reason", "found"), [(7, True), (0x8000_0021, False)])
def test_a_failed_entry_for_another_reason_than_the_guests_state_is_found(reason, found):
    scenario = Scenario("test", "test", "", tuple(map(ScenarioStep, (*VCPU, RunUntilHalt()))))
    output = struct.pack("<I20xQ", KvmExit.FAIL_ENTRY, reason)
    trace = with_reply(trace_of(scenario, AMX_HOST), len(VCPU), 0, Reply(0, output))
    claim = {f.statement.claim.name for f in Checkers(AMX_HOST).within(scenario, trace)}
    assert claim == ({"ENTRY_FAILURE"} if found else set())


def test_reserved_bits_of_efer_are_in_both_halves():
    assert RESERVED["KVM_SET_SREGS"]["efer"] & 2
    assert RESERVED["KVM_SET_SREGS"]["efer"] >> 32 == 0xFFFF_FFFF


def test_the_bits_that_must_come_back_are_known_for_each_member():
    assert bits_of("KVM_GET_SREGS", "cr0") == (1 << 64) - 1 - 0x10
    assert bits_of("KVM_GET_SREGS", "ss_dpl") == 0
    assert bits_of("KVM_GET_REGS", "rax") == (1 << 64) - 1


@pytest.mark.parametrize(("unusable", "sure"), [(0, True), (1, False), (2, False), (0xFF, False)])
def test_the_rights_of_an_unusable_segment_are_not_kept_whichever_bit_makes_it_so(unusable, sure):
    # arch/x86/kvm/vmx/vmx.c: vmx_segment_access_rights: unusable is true or false.
    layout = ioctls.KVM_SREGS2.numbers
    given = dict.fromkeys(layout, 0) | {"ds_present": 1, "ds_unusable": unusable}
    assert ("ds_present" in {member for member, _, _ in kept("KVM_GET_SREGS2", given)}) is sure


@pytest.mark.parametrize(("efer", "sure"), [(0, False), (1 << 8, True)])
def test_paging_outside_long_mode_may_be_what_a_vendor_module_does_not_have(efer, sure):
    given = dict.fromkeys(ioctls.KVM_SREGS2.numbers, 0) | {"cr0": 1 << 31, "efer": efer}
    [bits] = [bits for member, _, bits in kept("KVM_GET_SREGS2", given) if member == "cr0"]
    assert bool(bits & 1 << 31) is sure
