"""kernel contract section 5.1: IA32_XFD and IA32_XFD_ERR (INV-25, INV-26, INV-28, INV-29)."""

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.msr import get_xfd, set_xfd, set_xfd_err
from kvmprobe.model.outcome import Done
from kvmprobe.model.uabi import set_xsave
from kvmprobe.model.xcr import set_xcr0
from tests.support.hosts import AVX512_HOST, B18, VCPU, amx_vcpu, image, machine_with_vcpu

FOREIGN = (1 << 0, 1 << 9, 1 << 17, 1 << 19, 1 << 63, 1 << 17 | B18)


def test_xfd_of_tile_data_is_processed():
    assert set_xfd(amx_vcpu(), VCPU, B18).outcome == Done(1)


@pytest.mark.parametrize("value", FOREIGN)
def test_xfd_with_any_other_bit_is_not_processed(value):
    assert set_xfd(amx_vcpu(), VCPU, value).outcome == Done(0)


def test_xfd_before_set_cpuid2_is_not_processed():
    # contract 9: F;U
    assert set_xfd(machine_with_vcpu(granted=True), VCPU, B18).outcome == Done(0)


def test_xfd_of_a_guest_without_tiles_is_not_processed():
    machine = machine_with_vcpu(granted=True, cpuid_xcr0=0x2E7)
    assert set_xfd(machine, VCPU, B18).outcome == Done(0)


@pytest.mark.parametrize("host_machine", [machine_with_vcpu(), machine_with_vcpu(AVX512_HOST)])
def test_xfd_zero_is_always_processed(host_machine):
    # also without CPUID, and on a host without AMX (INV-42)
    assert set_xfd(host_machine, VCPU, 0).outcome == Done(1)


def test_xfd_does_not_depend_on_xcr0():
    # INV-25
    machine = set_xcr0(amx_vcpu(), VCPU, 0x1).machine
    assert set_xfd(machine, VCPU, B18).outcome == Done(1)


def test_a_refused_xfd_changes_nothing():
    machine = amx_vcpu()
    assert set_xfd(machine, VCPU, 1).machine == machine


def test_the_last_accepted_values_are_read_back():
    machine = set_xfd_err(set_xfd(amx_vcpu(), VCPU, B18).machine, VCPU, B18).machine
    assert get_xfd(machine, VCPU).outcome == Done(2, {"XFD": B18, "XFD_ERR": B18})


def test_both_read_as_zero_without_the_feature():
    outcome = get_xfd(machine_with_vcpu(AVX512_HOST), VCPU).outcome
    assert outcome == Done(2, {"XFD": 0, "XFD_ERR": 0})


@pytest.mark.parametrize("value", FOREIGN)
def test_xfd_err_with_any_other_bit_is_not_processed(value):
    assert set_xfd_err(amx_vcpu(), VCPU, value).outcome == Done(0)


def test_xfd_err_of_tile_data_is_processed():
    assert set_xfd_err(amx_vcpu(), VCPU, B18).outcome == Done(1)


def test_xfd_err_leaves_xfd_alone():
    assert set_xfd_err(amx_vcpu(), VCPU, B18).machine.vcpu(VCPU).xfd == 0


def test_a_refused_xfd_err_changes_nothing():
    machine = amx_vcpu()
    assert set_xfd_err(machine, VCPU, 1).machine == machine


def test_arming_xfd_clears_the_components_bit():
    # INV-29; the commit's subject says "whenever XFD[i]=1".
    loaded = set_xsave(amx_vcpu(), VCPU, image(0x60000)).machine
    assert set_xfd(loaded, VCPU, B18).machine.vcpu(VCPU).fpstate.xstate_bv == 0x20000


def test_disarming_xfd_does_not_bring_the_bit_back():
    # INV-28
    loaded = set_xsave(amx_vcpu(), VCPU, image(0x60000)).machine
    armed = set_xfd(loaded, VCPU, B18).machine
    assert set_xfd(armed, VCPU, 0).machine.vcpu(VCPU).fpstate.xstate_bv == 0x20000


def test_with_the_o1_defect_arming_xfd_keeps_the_bit():
    # known-bugs O1: "Bit 18 still set = vulnerable".
    machine = amx_vcpu(Behaviour.XFD_WRITE_KEEPS_XSTATE_BV)
    loaded = set_xsave(machine, VCPU, image(0x60000)).machine
    assert set_xfd(loaded, VCPU, B18).machine.vcpu(VCPU).fpstate.xstate_bv == 0x60000


def test_with_the_b1_defect_alone_arming_xfd_clears_the_bit():
    machine = amx_vcpu(Behaviour.SET_XSAVE_KEEPS_XFD_ARMED)
    loaded = set_xsave(machine, VCPU, image(0x60000)).machine
    assert set_xfd(loaded, VCPU, B18).machine.vcpu(VCPU).fpstate.xstate_bv == 0x20000
