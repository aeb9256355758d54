"""XFD, XFD_ERR and XSS in a guest: kernel contract §5.1, §5.2; live correction 11."""

import pytest

from kvmprobe.model.guest_msr import rdmsr, wrmsr
from kvmprobe.model.msr import set_xfd
from tests.support.guests import GP, NONE, edx_eax, in_payload, step, vector, without_feature
from tests.support.hosts import B17, B18, VCPU

XFD, XFD_ERR, XSS = 0x1C4, 0x1C5, 0xDA0
NO_XFD = without_feature(0xD, 1, "eax", 4)
NO_XSAVES = without_feature(0xD, 1, "eax", 3)
both = pytest.mark.parametrize("index", [XFD, XFD_ERR])


@both
def test_what_the_guest_writes_it_reads(index):
    machine = step(in_payload(), wrmsr, B18, index).machine
    assert edx_eax(step(machine, rdmsr, ecx=index).outcome) == B18


@both
@pytest.mark.parametrize("value", [B17, 1 << 19, 1 << 63, B18 | 1])
def test_other_bits_than_the_dynamic_one_are_gp(index, value):
    assert vector(in_payload(), wrmsr, value, index) == GP


@both
@pytest.mark.parametrize("instruction", [rdmsr, wrmsr])
def test_without_xfd_in_cpuid_both_are_gp(index, instruction):
    assert vector(in_payload(NO_XFD), instruction, 0, index) == GP


@pytest.mark.parametrize("value", [0, B18])
def test_the_first_write_that_is_not_zero_passes_xfd_through(value):
    written = step(in_payload(), wrmsr, value, XFD).machine.vcpu(VCPU)
    assert written.xfd_passthrough is bool(value)


def test_a_write_of_the_host_passes_it_through_too_whatever_cpuid_says():
    # live correction 11
    machine = set_xfd(in_payload(NO_XFD), VCPU, B18).machine
    assert [vector(machine, i, B18, XFD) for i in (rdmsr, wrmsr)] == [NONE, NONE]


def test_xfd_err_stays_closed_to_it():
    machine = set_xfd(in_payload(NO_XFD), VCPU, B18).machine
    assert [vector(machine, i, B18, XFD_ERR) for i in (rdmsr, wrmsr)] == [GP, GP]


def test_passed_through_it_may_have_what_the_processor_has():
    # live correction 11: the guest's CPUID may have lost AMX since
    assert vector(in_payload(xfd_passthrough=True, guest_xcr0=7), wrmsr, B18, XFD) == NONE


def test_intercepted_it_may_not():
    assert vector(in_payload(guest_xcr0=7), wrmsr, B18, XFD) == GP


def test_passed_through_other_bits_are_gp_by_the_processor():
    assert vector(in_payload(xfd_passthrough=True), wrmsr, B17, XFD) == GP


def test_xss_takes_what_cpuid_offers():
    # kernel contract 5.2: CET_USER and CET_KERNEL
    tried = [0, 0x800, 0x1800, 0x100, 1]
    vectors = [vector(in_payload(guest_xss=0x1800), wrmsr, value, XSS) for value in tried]
    assert vectors == [NONE, NONE, NONE, GP, GP]


@pytest.mark.parametrize("instruction", [rdmsr, wrmsr])
def test_xss_without_xsaves_in_cpuid_is_gp(instruction):
    assert vector(in_payload(NO_XSAVES), instruction, 0, XSS) == GP
