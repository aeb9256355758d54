"""KVM_RUN with registers in the run area."""

import errno

import pytest

from kvmprobe.errors import NotModelled
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.control import Cr4
from kvmprobe.model.outcome import Done, Failed, HostDies
from kvmprobe.model.sregs import set_cr4
from kvmprobe.model.synced_run import RunArea, Synced, never_stored, run_synced
from kvmprobe.model.uabi import set_xsave
from kvmprobe.model.vcpu_state import RESET, State, known, set_values
from tests.support.hosts import (
    AMX_HOST,
    B18,
    TILES,
    VCPU,
    amx_vcpu,
    image,
    machine_with_vcpu,
    with_behaviours,
)

REGS, SREGS, EVENTS = Synced
ALL = REGS | SREGS | EVENTS
FLAGS = RESET[State.EVENTS]["flags"]
CHANGES = {REGS: {"rbx": 7}, SREGS: {"cr4": Cr4.OSFXSR.bit}, EVENTS: {"flags": FLAGS}}


def run(machine, valid=0, dirty=0, *, immediate_exit=1, cr8=0, **values):
    changes = {part: {**given} for part, given in CHANGES.items() if dirty & part}
    for part, name in ((REGS, "rbx"), (SREGS, "cr4"), (EVENTS, "flags")):
        if name in values:
            changes[part] = {name: values[name]}
    return run_synced(machine, VCPU, RunArea(valid, dirty, immediate_exit, cr8, changes))


@pytest.fixture
def stored():
    """A vCPU whose registers are all in the run area."""
    return run(machine_with_vcpu(AMX_HOST), ALL).machine


@pytest.mark.parametrize("bit", [3, 31, 32, 63])
@pytest.mark.parametrize("where", ["valid", "dirty"])
def test_an_unknown_bit_is_refused_before_anything_is_loaded(stored, where, bit):
    bits = {"valid": 0, "dirty": REGS}
    bits[where] |= 1 << bit
    step = run(stored, **bits)
    assert step.outcome.errno == errno.EINVAL
    assert step.outcome.fields["kvm_dirty_regs"] & REGS
    assert known(step.machine.vcpu(VCPU), State.REGS)["rbx"] == 0


@pytest.mark.parametrize(("bit", "error"), [(31, errno.EINVAL), (32, errno.EINTR)])
def test_a_kernel_may_ignore_the_upper_half(bit, error):
    host = with_behaviours(AMX_HOST, Behaviour.SYNC_UPPER_HALF_IGNORED)
    assert run(machine_with_vcpu(host), 1 << bit).outcome.errno == error


def test_an_ignored_bit_stays_dirty():
    host = with_behaviours(AMX_HOST, Behaviour.SYNC_UPPER_HALF_IGNORED)
    machine = run(machine_with_vcpu(host), ALL).machine
    assert run(machine, 0, ALL | 1 << 40).outcome.fields["kvm_dirty_regs"] == 1 << 40


def test_valid_parts_are_stored_although_the_run_fails(stored):
    fields = run(stored, REGS | 1 << 9).outcome.fields
    assert (fields["rdx"], fields["rip"]) == (0x600, 0xFFF0)
    assert "cr4" not in fields


def test_dirty_parts_are_loaded(stored):
    step = run(stored, ALL, ALL)
    assert step.outcome.fields["kvm_dirty_regs"] == 0
    assert (step.outcome.fields["rbx"], step.outcome.fields["cr4"]) == (7, Cr4.OSFXSR.bit)
    assert step.machine.vcpu(VCPU).cr4 == Cr4.OSFXSR.bit


def test_a_refused_part_leaves_those_before_it_loaded(stored):
    step = run(stored, 0, ALL, cr4=1 << 63)
    assert step.outcome == Failed(
        errno.EINVAL, {"kvm_valid_regs": 0, "kvm_dirty_regs": SREGS | EVENTS}
    )
    assert known(step.machine.vcpu(VCPU), State.REGS)["rbx"] == 7


def test_unknown_flags_of_events_are_refused_last(stored):
    step = run(stored, 0, ALL, flags=1 << 31)
    assert step.outcome.fields["kvm_dirty_regs"] == EVENTS
    assert step.machine.vcpu(VCPU).cr4 == Cr4.OSFXSR.bit


def test_a_triple_fault_that_is_not_enabled_is_refused_when_the_other_events_are_loaded(stored):
    late = with_behaviours(AMX_HOST, Behaviour.EVENTS_SET_BEFORE_CHECK)
    machine = stored._replace(host=late)
    events = {**known(machine.vcpu(VCPU), State.EVENTS), "exception_nr": 13}
    machine = set_values(machine, VCPU, State.EVENTS, events).machine
    step = run(machine, 0, EVENTS, flags=32)
    assert step.outcome == Failed(errno.EINVAL, {"kvm_valid_regs": 0, "kvm_dirty_regs": EVENTS})
    assert known(step.machine.vcpu(VCPU), State.EVENTS)["exception_nr"] == 0


def test_what_is_loaded_is_what_was_stored(stored):
    changed = set_cr4(stored, VCPU, Cr4.OSXMMEXCPT.bit).machine
    changed = run(changed, 0, SREGS, cr4=0).machine
    assert changed.vcpu(VCPU).cr4 == 0


def test_a_part_that_was_never_stored_is_known(stored):
    fresh = machine_with_vcpu(AMX_HOST)
    assert never_stored(fresh.vcpu(VCPU), ALL | 1 << 5) == ALL
    assert never_stored(run(fresh, REGS).machine.vcpu(VCPU), ALL) == SREGS | EVENTS
    assert never_stored(stored.vcpu(VCPU), ALL) == 0


@pytest.mark.parametrize(
    ("cr8", "lapic", "error"),
    [(0xF, False, errno.EINTR), (0x10, False, errno.EINVAL), (0x10, True, errno.EINTR)],
)
def test_cr8_is_checked_without_a_local_apic(cr8, lapic, error):
    machine = machine_with_vcpu(AMX_HOST)
    machine = machine.with_vcpu(VCPU, machine.vcpu(VCPU)._replace(lapic=lapic))
    assert run(machine, cr8=cr8).outcome.errno == error


def test_cr8_is_refused_after_registers_are_loaded(stored):
    step = run(stored, 0, REGS, cr8=0x10)
    assert step.outcome.fields["kvm_dirty_regs"] == 0
    assert known(step.machine.vcpu(VCPU), State.REGS)["rbx"] == 7


def test_a_guest_that_is_entered_halts_and_has_unknown_registers():
    step = run(machine_with_vcpu(AMX_HOST), ALL, immediate_exit=0, cr8=5)
    assert isinstance(step.outcome, Done)
    assert step.outcome.fields["exit_reason"] == 5
    assert step.outcome.fields["cr8"] == 5
    assert "rip" not in step.outcome.fields
    assert step.machine.vcpu(VCPU).ran


def test_registers_that_some_cpus_refuse_are_not_covered(stored):
    bit = Cr4.PCIDE.bit
    machine = stored.with_vcpu(VCPU, stored.vcpu(VCPU)._replace(cr4=bit))
    with pytest.raises(NotModelled):
        run(machine, immediate_exit=0)


def test_registers_that_the_cpu_refuses_fail_the_entry(stored):
    machine = stored.with_vcpu(VCPU, stored.vcpu(VCPU)._replace(cr4=Cr4.CET.bit))
    assert run(machine, immediate_exit=0).outcome.fields["exit_reason"] == 9


def test_it_loads_the_guests_fpu():
    machine = set_xsave(amx_vcpu(), VCPU, image(TILES)).machine
    vcpu = machine.vcpu(VCPU)
    armed = machine.with_vcpu(VCPU, vcpu._replace(fpstate=vcpu.fpstate._replace(xfd=B18)))
    assert isinstance(run(armed, 1 << 40).outcome, HostDies)
    assert run(machine).machine.vcpu(VCPU).fpstate.saved
