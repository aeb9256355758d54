"""What the model does not cover, and what is in doubt after it."""

from __future__ import annotations

import errno

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done, Failed, HostDies, NotCovered
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.domain import judgeable
from kvmprobe.scenarios.ops.cpuid import GetCpuid2, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetMsrs, GetXfd, SetMsrs, SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.vcpu_state import GetRegs, GetVcpuEvents, SetRegs, SetVcpuEvents
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from tests.support.hosts import AMX_HOST, B18, with_behaviours

VCPU = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu())
CR3 = SetSregs(0, (("cr3", 0x1000),))
RESERVED = SetSregs(0, (("efer", 2),))
UNKNOWN = SetMsrs(((0xC000_0080, 1),))


def outcomes(*ops, host=AMX_HOST):
    machine, found = Machine.fresh(host), []
    for op in (*VCPU, *ops):
        step = op.step(machine)
        machine = step.machine
        found.append(step.outcome)
    return found[len(VCPU) :]


def test_a_member_without_a_rule_is_not_covered():
    assert outcomes(GetSregs(), CR3)[-1] == NotCovered("cr3 in KVM_SET_SREGS", Failed(errno.EINVAL))


def test_what_it_may_have_changed_is_in_doubt():
    doubted = outcomes(GetSregs(), CR3, GetSregs(), GetVcpuEvents(), GetCpuid2(), RunUntilHalt())
    assert [type(outcome) for outcome in doubted[2:]] == [NotCovered] * 4


def test_what_it_can_not_have_changed_is_judged():
    sure = outcomes(GetSregs(), CR3, GetRegs(), GetXsave2(), GetXfd(), SetCpuid2(Table.FULL))
    assert not any(isinstance(outcome, NotCovered) for outcome in sure[2:])


def test_after_an_entry_everything_is_in_doubt():
    assert isinstance(outcomes(GetSregs(), CR3, RunUntilHalt(), GetXsave2())[-1], NotCovered)


def test_a_reserved_bit_of_efer_is_refused_whatever_is_in_doubt():
    assert outcomes(GetSregs(), CR3, RESERVED)[-1] == Failed(errno.EINVAL)


def test_a_kernel_with_the_defect_accepts_it_and_leaves_a_doubt():
    host = with_behaviours(AMX_HOST, Behaviour.SREGS_EFER_NOT_CHECKED)
    accepted, read = outcomes(GetSregs(), RESERVED, GetSregs(), host=host)[1:]
    assert accepted == Done()
    assert isinstance(read, NotCovered)


def test_a_kernel_with_the_defect_accepts_bits_that_some_cpus_define():
    # AMD64 APM vol.2 §3.1.7: LMSLE is bit 13.
    host = with_behaviours(AMX_HOST, Behaviour.SREGS_EFER_NOT_CHECKED)
    lmsle = SetSregs(0, (("efer", 1 << 13),))
    assert outcomes(GetSregs(), lmsle, host=host)[-1] == Done()
    assert isinstance(outcomes(GetSregs(), lmsle)[-1], NotCovered)


def test_a_host_that_dies_is_foreseen_in_spite_of_doubts():
    host = with_behaviours(AMX_HOST, Behaviour.XFD_WRITE_KEEPS_XSTATE_BV)
    armed = (RequestGuestPermission(18), *VCPU, SetCpuid2(Table.FULL), SetXsave(B18), SetXfd(B18))
    machine = Machine.fresh(host)
    for op in (*armed, GetSregs(), CR3):
        machine = op.step(machine).machine
    assert isinstance(RunUntilHalt().step(machine).outcome, HostDies)


def test_a_list_with_an_msr_without_a_rule_is_not_covered():
    assert isinstance(outcomes(UNKNOWN)[-1], NotCovered)
    assert isinstance(outcomes(GetMsrs((0xC000_0080,)))[-1], NotCovered)


def test_an_msr_without_a_rule_may_be_a_register():
    assert isinstance(outcomes(UNKNOWN, GetSregs())[-1], NotCovered)


def test_reading_one_leaves_no_doubt():
    assert outcomes(GetMsrs((0xC000_0080,)), GetSregs())[-1].value == 0


def test_general_registers_are_all_known():
    written = outcomes(GetRegs(), SetRegs(members=(("r9", 5), ("rflags", 0))), GetRegs())[-1]
    assert (written.fields["r9"], written.fields["rflags"]) == (5, 2)


def test_an_event_without_a_rule_is_not_covered():
    pending = SetVcpuEvents(members=(("nmi_pending", 1),))
    assert isinstance(outcomes(GetVcpuEvents(), pending)[-1], NotCovered)


def test_a_table_that_ends_beyond_the_buffer_is_not_read():
    # The kernel would return nent as it was given: 300 of 256 entries.
    host = with_behaviours(AMX_HOST, Behaviour.GET_CPUID2_KEEPS_NENT)
    ops = (*VCPU, GetCpuid2(room=300))
    assert (judgeable(ops, host), judgeable(ops, AMX_HOST)) == (False, True)


def test_a_claim_of_room_for_any_number_of_entries_costs_no_memory():
    # struct kvm_cpuid2: nent is 32 bits.
    host = with_behaviours(AMX_HOST, Behaviour.GET_CPUID2_KEEPS_NENT)
    machine = Machine.fresh(host)
    for op in (*VCPU, GetCpuid2(room=(1 << 32) - 1)):
        step = op.transition(machine)
        machine = step.machine
    assert step.outcome.fields["nent"] == (1 << 32) - 1
