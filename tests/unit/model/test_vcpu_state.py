"""REGS, VCPU_EVENTS, MP_STATE, DEBUGREGS and LAPIC: asm/kvm.h, and the SDM's reset state."""

import errno
from functools import partial

import pytest

from kvmprobe.model import lifecycle, vcpu_state
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done, Failed, NotCovered
from kvmprobe.model.run import run_immediate_exit, run_until_halt
from kvmprobe.model.vcpu_state import State, get_state, set_state
from kvmprobe.scenarios.ops.run import RunUntilOut
from kvmprobe.scenarios.ops.sregs import GetSregs
from kvmprobe.scenarios.ops.vcpu_state import GetMpState, GetRegs, SetMpState
from tests.support.hosts import AMX_HOST, VCPU, machine_with_vcpu, with_behaviours

WITHOUT_LAPIC = [s for s in State if s is not State.LAPIC]


def with_irqchip():
    machine = lifecycle.create_vm(Machine.fresh(AMX_HOST)).machine
    machine = vcpu_state.create_irqchip(machine).machine
    return lifecycle.create_vcpu(machine, VCPU).machine


def fields(machine, state):
    return get_state(machine, VCPU, state).outcome.fields


@pytest.mark.parametrize(
    ("state", "name", "value"),
    [
        # SDM vol.3 table 10-1
        (State.REGS, "rip", 0xFFF0),
        (State.REGS, "rflags", 2),
        (State.DEBUGREGS, "dr6", 0xFFFF0FF0),
        (State.DEBUGREGS, "dr7", 0x400),
        # linux/kvm.h: KVM_MP_STATE_RUNNABLE
        (State.MP_STATE, "mp_state", 0),
    ],
)
def test_a_fresh_vcpu_is_as_reset_leaves_it(state, name, value):
    assert fields(machine_with_vcpu(), state)[name] == value


@pytest.mark.parametrize("state", State)
def test_what_was_saved_can_be_restored_and_is_read_back(state):
    saved = get_state(with_irqchip(), VCPU, state)
    restored = set_state(saved.machine, VCPU, state, {})
    assert restored.outcome == Done()
    assert fields(restored.machine, state) == saved.outcome.fields


def test_a_changed_value_is_read_back_among_the_saved_ones():
    saved = get_state(machine_with_vcpu(), VCPU, State.REGS).machine
    restored = set_state(saved, VCPU, State.REGS, {"rbx": 7}).machine
    got = fields(restored, State.REGS)
    assert (got["rbx"], got["rip"]) == (7, 0xFFF0)


@pytest.mark.parametrize("access", [get_state, partial(set_state, changes={})])
def test_without_an_interrupt_controller_there_is_no_lapic(access):
    # lapic.c: KVM_GET_LAPIC and KVM_SET_LAPIC are EINVAL without lapic_in_kernel
    assert access(machine_with_vcpu(), VCPU, State.LAPIC).outcome == Failed(errno.EINVAL)


@pytest.mark.parametrize(("number", "with_lapic"), [(0, True), (3, True), (10, False), (99, False)])
def test_mp_states_that_a_lapic_allows(number, with_lapic):
    # linux/kvm.h: 3 is HALTED; 10 is SUSPENDED, of RISC-V
    machine = get_state(with_irqchip(), VCPU, State.MP_STATE).machine
    outcome = set_state(machine, VCPU, State.MP_STATE, {"mp_state": number}).outcome
    assert outcome == (Done() if with_lapic else Failed(errno.EINVAL))


def test_a_vcpu_that_received_a_sipi_starts():
    # lapic.c: kvm_apic_accept_events, called by KVM_GET_MP_STATE: 4 is SIPI_RECEIVED
    machine = get_state(with_irqchip(), VCPU, State.MP_STATE).machine
    started = set_state(machine, VCPU, State.MP_STATE, {"mp_state": 4}).machine
    assert fields(started, State.MP_STATE) == {"mp_state": 0}


@pytest.mark.parametrize(("given", "shown", "judged"), [(4, 0, False), (3, 3, True)])
def test_a_sipi_gives_a_vcpu_registers_that_are_not_judged(given, shown, judged):
    # arch/x86/kvm/x86.c: kvm_vcpu_deliver_sipi_vector
    machine = SetMpState(given).step(GetMpState().step(with_irqchip()).machine).machine
    step = GetMpState().step(machine)
    assert step.outcome == Done(fields={"mp_state": shown})
    for read in (GetRegs(), GetSregs(), RunUntilOut()):
        assert isinstance(read.step(step.machine).outcome, NotCovered) is not judged


@pytest.mark.parametrize(
    ("given", "shown"),
    # asm/kvm.h: 2 is INIT_RECEIVED, 3 HALTED, 4 SIPI_RECEIVED.
    [([4, 2], 0), ([4, 3], 3), ([4, 0], 0), ([2], 2)],
)
def test_a_pending_sipi_starts_a_vcpu_that_is_in_init_received(given, shown):
    # lapic.c: kvm_apic_accept_events; KVM_SET_MP_STATE leaves the pending one.
    machine = get_state(with_irqchip(), VCPU, State.MP_STATE).machine
    for mp_state in given:
        machine = set_state(machine, VCPU, State.MP_STATE, {"mp_state": mp_state}).machine
    assert fields(machine, State.MP_STATE) == {"mp_state": shown}
    read = get_state(machine, VCPU, State.MP_STATE).machine
    again = set_state(read, VCPU, State.MP_STATE, {"mp_state": 2}).machine
    assert fields(again, State.MP_STATE) == {"mp_state": 2}


def test_which_events_were_given_is_not_read_back():
    # x86.c: kvm_vcpu_ioctl_x86_get_vcpu_events: NMI_PENDING, SHADOW and SMM, always
    machine = get_state(machine_with_vcpu(), VCPU, State.EVENTS).machine
    given = set_state(machine, VCPU, State.EVENTS, {"flags": 2}).machine
    assert fields(given, State.EVENTS)["flags"] == 1 | 4 | 8


def test_without_a_lapic_only_runnable_is_a_legal_mp_state():
    machine = get_state(machine_with_vcpu(), VCPU, State.MP_STATE).machine
    refused = set_state(machine, VCPU, State.MP_STATE, {"mp_state": 3})
    assert (refused.outcome, refused.machine) == (Failed(errno.EINVAL), machine)


@pytest.mark.parametrize("changes", [{"flags": 1}, {"dr7": 1 << 32}, {"dr6": 1 << 40}])
def test_debug_registers_beyond_32_bits_and_flags_are_einval(changes):
    machine = get_state(machine_with_vcpu(), VCPU, State.DEBUGREGS).machine
    refused = set_state(machine, VCPU, State.DEBUGREGS, changes)
    assert (refused.outcome, refused.machine) == (Failed(errno.EINVAL), machine)


def test_an_unknown_flag_of_events_is_einval():
    machine = get_state(machine_with_vcpu(), VCPU, State.EVENTS).machine
    outcome = set_state(machine, VCPU, State.EVENTS, {"flags": 1 << 6}).outcome
    assert outcome == Failed(errno.EINVAL)


LATE = with_behaviours(AMX_HOST, Behaviour.EVENTS_SET_BEFORE_CHECK)


def refused_events(host, **changes):
    """Return how KVM_SET_VCPU_EVENTS ends, and the events that it has changed."""
    before = get_state(machine_with_vcpu(host), VCPU, State.EVENTS)
    refused = set_state(before.machine, VCPU, State.EVENTS, changes)
    after = fields(refused.machine, State.EVENTS).items()
    return refused.outcome, dict(after - before.outcome.fields.items())


def test_refused_events_are_not_set():
    assert refused_events(AMX_HOST, flags=32, exception_nr=13) == (Failed(errno.EINVAL), {})


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"exception_nr": 13, "exception_error_code": 5},) * 2,
        # x86.c: kvm_vcpu_ioctl_x86_get_vcpu_events does not show #BP and #OF, nor soft interrupts.
        (
            {"exception_injected": 16, "exception_nr": 13},
            {"exception_injected": 1, "exception_nr": 13},
        ),
        ({"exception_injected": 1, "exception_nr": 3}, {"exception_nr": 3}),
        (
            {"interrupt_injected": 2, "interrupt_nr": 9},
            {"interrupt_injected": 1, "interrupt_nr": 9},
        ),
        ({"interrupt_injected": 1, "interrupt_soft": 1}, {}),
        ({"nmi_injected": 1, "nmi_masked": 8}, {"nmi_injected": 1, "nmi_masked": 1}),
        ({"exception_has_error_code": 2}, {"exception_has_error_code": 1}),
        # They need a flag.
        ({"exception_pending": 1, "interrupt_shadow": 1, "nmi_pending": 1, "smi_smm": 1}, {}),
        # Earlier checks refuse a vector that no exception has.
        ({"exception_injected": 1, "exception_nr": 2}, {}),
        ({"exception_injected": 1, "exception_nr": 32}, {}),
        ({"exception_nr": 32}, {"exception_nr": 32}),
    ],
)
def test_a_kernel_that_looks_for_a_triple_fault_last_has_set_the_other_events(given, shown):
    assert refused_events(LATE, flags=32, **given) == (Failed(errno.EINVAL), shown)


@pytest.mark.parametrize("flags", [0x30, 0x60])
def test_other_flags_are_refused_before_anything_is_set(flags):
    assert refused_events(LATE, flags=flags, exception_nr=13) == (Failed(errno.EINVAL), {})


def test_only_events_are_set_by_a_call_that_fails():
    machine = get_state(machine_with_vcpu(LATE), VCPU, State.DEBUGREGS).machine
    refused = set_state(machine, VCPU, State.DEBUGREGS, {"flags": 32, "db0": 1})
    assert (refused.outcome, refused.machine) == (Failed(errno.EINVAL), machine)


def test_an_interrupt_controller_is_created_once():
    machine = vcpu_state.create_irqchip(Machine.fresh(AMX_HOST)).machine
    assert vcpu_state.create_irqchip(machine).outcome == Failed(errno.EEXIST)


def test_an_interrupt_controller_is_created_before_the_first_vcpu():
    assert vcpu_state.create_irqchip(machine_with_vcpu()).outcome == Failed(errno.EINVAL)


@pytest.mark.parametrize("state", WITHOUT_LAPIC)
def test_once_the_guest_ran_nothing_is_known(state):
    ran = run_until_halt(machine_with_vcpu(), VCPU).machine
    assert fields(ran, state) == {}


@pytest.mark.parametrize("state", WITHOUT_LAPIC)
def test_immediate_exit_leaves_all_as_it_was(state):
    kicked = run_immediate_exit(machine_with_vcpu(), VCPU).machine
    assert fields(kicked, state) == fields(machine_with_vcpu(), state)


def test_a_guest_that_writes_to_a_port_exits_with_kvm_exit_io():
    # linux/kvm.h: KVM_EXIT_IO is 2
    outcome = vcpu_state.run_until_port(machine_with_vcpu(), VCPU).outcome
    assert outcome == Done(fields={"exit_reason": 2})
