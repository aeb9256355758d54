"""kernel contract section 6: XCR0 (INV-23, INV-38)."""

import errno

import pytest

from kvmprobe.model.msr import set_xfd
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.uabi import set_xsave
from kvmprobe.model.xcr import get_xcr0, legal_xcr0, set_xcr0, set_xcrs
from tests.support.hosts import VCPU, amx_vcpu, image, machine_with_vcpu

EVERYTHING = 0x602FF  # with MPX, which the AMX host lacks


@pytest.mark.parametrize(
    "value",
    [
        0x1,
        0x3,
        0x7,
        0x201,  # PKRU stands alone
        0x60001,  # tiles need neither AVX nor AVX-512
        0xE7,
        0x1F,  # both MPX bits
        0x602FF,
    ],
)
def test_legal_values(value):
    assert legal_xcr0(value, EVERYTHING)


@pytest.mark.parametrize("value", [0x80001, 0x800E7])
def test_apx_needs_no_other_component(value):
    assert legal_xcr0(value, EVERYTHING | 1 << 19)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (0x0, "FP is 0"),
        (0x2, "FP is 0"),
        (0x602FE, "FP is 0"),
        (0x5, "YMM without SSE"),
        (0x602FD, "YMM without SSE"),
        (0x9, "BNDREGS without BNDCSR"),
        (0x11, "BNDCSR without BNDREGS"),
        (0x27, "opmask alone"),
        (0x47, "ZMM_Hi256 alone"),
        (0x87, "Hi16_ZMM alone"),
        (0x67, "AVX-512 without Hi16_ZMM"),
        (0xA7, "AVX-512 without ZMM_Hi256"),
        (0xC7, "AVX-512 without opmask"),
        (0xE3, "AVX-512 without YMM"),
        (0xE1, "AVX-512 without SSE and YMM"),
        (0x20001, "XTILECFG alone"),
        (0x40001, "XTILEDATA alone"),
        (0x101, "PT is a supervisor component"),
        (0x401, "PASID"),
        (0x80001, "APX, which KVM does not know"),
        (1 << 63 | 1, "bit 63"),
    ],
)
def test_illegal_values(value, why):
    assert not legal_xcr0(value, EVERYTHING), why


@pytest.mark.parametrize("bit", [2, 3, 9, 17, 19, 63])
def test_a_bit_outside_the_guests_cpuid_is_illegal(bit):
    assert not legal_xcr0(1 << bit | 0x3, 0x3)


def test_x87_alone_is_legal_whatever_the_cpuid():
    assert legal_xcr0(0x1, 0)


def test_before_set_cpuid2_sse_is_einval():
    # contract 9: X;U
    assert set_xcr0(machine_with_vcpu(), VCPU, 0x3).outcome == Failed(errno.EINVAL)


def test_before_set_cpuid2_x87_alone_is_accepted():
    assert set_xcr0(machine_with_vcpu(), VCPU, 0x1).outcome == Done()


def test_a_legal_value_is_accepted():
    assert set_xcr0(amx_vcpu(), VCPU, 0x602E7).outcome == Done()


def test_xtile_cfg_of_an_advertised_half_pair_is_einval():
    # known-bugs B4: "KVM_SET_XCRS with the advertised 0x202e7 must then fail".
    machine = machine_with_vcpu(cpuid_xcr0=0x202E7)
    assert set_xcr0(machine, VCPU, 0x202E7).outcome == Failed(errno.EINVAL)


def test_a_refused_value_changes_nothing():
    # INV-19
    machine = amx_vcpu()
    assert set_xcr0(machine, VCPU, 0x5).machine == machine


def test_the_last_accepted_value_is_read_back():
    machine = set_xcr0(amx_vcpu(), VCPU, 0x60007).machine
    assert get_xcr0(machine, VCPU).outcome == Done(fields={"XCR0": 0x60007})


def test_the_reset_value_is_read_back_before_any_write():
    assert get_xcr0(machine_with_vcpu(), VCPU).outcome == Done(fields={"XCR0": 1})


def test_xfd_does_not_decide_what_is_legal():
    armed = set_xfd(amx_vcpu(), VCPU, 1 << 18).machine
    assert set_xcr0(armed, VCPU, 0x602E7).outcome == Done()


def test_writing_xcr0_keeps_xstate_bv():
    # INV-38
    loaded = set_xsave(amx_vcpu(), VCPU, image(0x60000)).machine
    assert set_xcr0(loaded, VCPU, 0x1).machine.vcpu(VCPU).fpstate.xstate_bv == 0x60000


def listed(*entries, flags=0):
    step = set_xcrs(amx_vcpu(), VCPU, entries, flags)
    return step.outcome, step.machine.vcpu(VCPU).xcr0


def test_the_first_entry_for_xcr0_wins():
    # INV-24; seen live: "0, first entry wins, second never looked at"
    assert listed((1, 9), (0, 7), (0, 2)) == (Done(), 7)


@pytest.mark.parametrize("entries", [(), ((1, 7),), ((1, 2), (5, 0))])
def test_a_list_without_xcr0_is_accepted_and_ignored(entries):
    # INV-24
    assert listed(*entries) == (Done(), 1)


def test_an_illegal_first_entry_is_einval():
    assert listed((0, 2), (0, 3)) == (Failed(errno.EINVAL), 1)


@pytest.mark.parametrize(("length", "outcome"), [(16, Done()), (17, Failed(errno.EINVAL))])
def test_17_entries_are_too_many(length, outcome):
    assert listed(*((0, 1),) * length) == (outcome, 1)


def test_flags_are_einval():
    assert listed((0, 3), flags=1) == (Failed(errno.EINVAL), 1)
