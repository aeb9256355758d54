"""CET state: SDM vol.1 §17.2, vol.4 table 2-2; which MSRs a guest has and what they may hold."""

import pytest

from kvmprobe.errors import NotModelled
from kvmprobe.model import msr
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.guest_msr import rdmsr, wrmsr
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.outcome import Done
from kvmprobe.model.run import run_until_halt
from tests.support.guests import GP, NONE, in_payload, step, vector
from tests.support.hosts import VCPU, cet_host, machine_with_vcpu, with_fields

U_CET, S_CET, PL0_SSP, PL1_SSP, PL2_SSP, PL3_SSP = 0x6A0, 0x6A2, *range(0x6A4, 0x6A8)
INT_SSP_TAB = 0x6A8
CONTROLS, POINTERS = [U_CET, S_CET], [PL0_SSP, PL1_SSP, PL2_SSP, PL3_SSP]
BOTH = {"shstk": True, "ibt": True}
SH_STK_EN, WR_SHSTK_EN, ENDBR_EN, SUPPRESS, TRACKER = 1, 2, 4, 1 << 10, 1 << 11


def vcpu_of(**features):
    """A machine whose guest has every feature that its host offers."""
    host = cet_host(**features)
    table = GuestCpuid.of(host.supported)
    return with_fields(machine_with_vcpu(host), cpuid=table, guest_xss=0x1800)


def processed(index, value, **features):
    return msr.set_msrs(vcpu_of(**features), VCPU, [(index, value)]).outcome.value


# Fault 29: IA32_S_CET and IA32_INTERRUPT_SSP_TABLE_ADDR were not known.
@pytest.mark.parametrize("index", CONTROLS)
@pytest.mark.parametrize("value", [*(1 << nr for nr in range(6)), SUPPRESS, TRACKER, 1 << 14, 0x3F])
def test_a_control_takes_its_defined_bits(index, value):
    # SDM vol.4 table 2-2: bits 5:0, 10, 11 and 63:12
    assert processed(index, value, **BOTH) == 1


@pytest.mark.parametrize("index", CONTROLS)
@pytest.mark.parametrize("value", [1 << 6, 1 << 7, 1 << 8, 1 << 9, SUPPRESS | TRACKER])
def test_a_control_takes_no_reserved_bit_and_not_both_of_tracker_and_suppress(index, value):
    assert processed(index, value, **BOTH) == 0


@pytest.mark.parametrize("index", CONTROLS)
@pytest.mark.parametrize(
    ("value", "shstk", "ibt"),
    [(SH_STK_EN, True, False), (WR_SHSTK_EN, True, False), (ENDBR_EN, False, True)],
)
def test_a_controls_bit_needs_its_feature(index, value, shstk, ibt):
    assert processed(index, value, shstk=shstk, ibt=ibt) == 1
    assert processed(index, value, shstk=ibt, ibt=shstk) == 0


@pytest.mark.parametrize("index", POINTERS)
def test_a_shadow_stack_pointer_is_aligned_to_4_bytes(index):
    assert [processed(index, value) for value in (1, 2, 3, 4)] == [0, 0, 0, 1]


def test_the_table_of_shadow_stack_pointers_need_not_be_aligned():
    # SDM vol.4 table 2-2: IA32_INTERRUPT_SSP_TABLE_ADDR has no reserved bits.
    assert processed(INT_SSP_TAB, 0x1001) == 1


@pytest.mark.parametrize("index", [*POINTERS, INT_SSP_TAB])
def test_a_pointer_needs_shadow_stacks(index):
    assert (processed(index, 4), processed(index, 4, shstk=False, ibt=True)) == (1, 0)


@pytest.mark.parametrize("index", [*CONTROLS, *POINTERS, INT_SSP_TAB])
@pytest.mark.parametrize(
    ("value", "wide"),
    [(1 << 46, 1), (1 << 47, 0), (-(1 << 47), 1), (1 << 48, 0)],
)
def test_an_address_is_canonical(index, value, wide):
    # SDM vol.3 §4.5.3: with LA57 in CPUID the CPU's linear addresses have 57 bits in any mode.
    value %= 1 << 64
    assert processed(index, value, **BOTH) == wide
    assert processed(index, value, **BOTH, la57=True) == 1


def test_values_are_read_back():
    values = [(U_CET, 1), (S_CET, ENDBR_EN), (PL1_SSP, 8), (INT_SSP_TAB, 0x1001)]
    machine = msr.set_msrs(vcpu_of(**BOTH), VCPU, values).machine
    read = msr.get_msrs(machine, VCPU, [index for index, _ in values]).outcome.fields
    assert list(read.values()) == [value for _, value in values]


@pytest.mark.parametrize(("index", "loads"), [(U_CET, 1), (S_CET, 0), (PL0_SSP, 1), (0x6A8, 0)])
def test_what_is_in_xstate_loads_the_guest_fpu(index, loads):
    # SDM vol.1 §13.5.9: IA32_U_CET and IA32_PLi_SSP
    machine = msr.set_msrs(vcpu_of(**BOTH), VCPU, [(index, 0)]).machine
    assert machine.vcpu(VCPU).fpstate.saved == bool(loads)


def guest(**features):
    host = cet_host(**features)
    return in_payload(host.supported, host=host, guest_xss=0x1800)


@pytest.mark.parametrize("index", [U_CET, S_CET, PL0_SSP, PL3_SSP, INT_SSP_TAB])
def test_a_guest_with_the_feature_reads_what_it_wrote(index):
    machine = step(guest(**BOTH), wrmsr, 4, index).machine
    assert step(machine, rdmsr, 0, index).outcome.fields["rax"] == 4


@pytest.mark.parametrize("instruction", [rdmsr, wrmsr])
@pytest.mark.parametrize("index", [U_CET, S_CET, PL0_SSP, INT_SSP_TAB])
def test_a_guest_without_the_feature_has_no_such_msr(instruction, index):
    assert vector(in_payload(), instruction, 0, index) == GP


def test_a_guests_illegal_value_is_gp():
    assert vector(guest(**BOTH), wrmsr, 1 << 6, U_CET) == GP
    assert vector(guest(**BOTH), wrmsr, 8, PL0_SSP) == NONE


def test_a_guests_bit_that_only_the_cpu_has_is_not_modelled():
    # The MSR is not intercepted: the CPU decides, which has more than the guest's CPUID.
    host = cet_host(**BOTH)
    without = host.supported.replaced(7, 0, edx=0)
    machine = in_payload(without, host=host)
    with pytest.raises(NotModelled, match="U_CET"):
        step(machine, wrmsr, ENDBR_EN, U_CET)


NOT_CHECKED = Behaviour.CET_BASE_NOT_CHECKED
NOT_CANONICAL = 1 << 52


def defective_vcpu():
    host = cet_host(NOT_CHECKED, **BOTH)
    table = GuestCpuid.of(host.supported)
    return with_fields(machine_with_vcpu(host), cpuid=table, guest_xss=0x1800)


@pytest.mark.parametrize("index", CONTROLS)
def test_a_base_that_is_not_canonical_is_refused_unless_a_kernel_does_not_check(index):
    # fuzz, seed 21, number 328
    assert processed(index, NOT_CANONICAL, **BOTH) == 0
    assert msr.set_msrs(defective_vcpu(), VCPU, [(index, NOT_CANONICAL)]).outcome == Done(1)


def test_the_hosts_wrmsr_faults_and_u_cet_keeps_its_value():
    # "unchecked MSR access error: WRMSR to 0x6a0" in the log of 7.3.4
    machine = msr.set_msrs(defective_vcpu(), VCPU, [(U_CET, 1), (U_CET, NOT_CANONICAL)]).machine
    assert msr.get_msrs(machine, VCPU, [U_CET]).outcome == Done(1, {"U_CET": 1})


@pytest.mark.parametrize(("value", "reason"), [(NOT_CANONICAL, 9), (1, 5)])
def test_s_cet_that_is_not_canonical_fails_the_entry(value, reason):
    # linux/kvm.h: KVM_EXIT_FAIL_ENTRY 9, KVM_EXIT_HLT 5; SDM vol.3 §27.3.1.1
    machine = msr.set_msrs(defective_vcpu(), VCPU, [(S_CET, value)]).machine
    assert run_until_halt(machine, VCPU).outcome == Done(fields={"exit_reason": reason})


@pytest.mark.parametrize("index", CONTROLS)
def test_such_a_kernel_still_refuses_reserved_bits(index):
    assert msr.set_msrs(defective_vcpu(), VCPU, [(index, 1 << 6)]).outcome == Done(0)
