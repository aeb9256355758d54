"""kernel contract section 7.4 and known-bugs O2: KVM_SET_FPU and KVM_GET_FPU.

``struct kvm_fpu`` (asm/kvm.h): 128 bytes of ST registers, fcw at 128, fsw 130, ftwx 132, a byte of
padding, opcode 134, ip 136, dp 144, 256 bytes of XMM at 152, mxcsr at 408, 4 bytes of padding.
"""

import errno
import struct

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.fpu import get_fpu, set_fpu
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.run import run_immediate_exit
from kvmprobe.model.uabi import get_xsave2, set_xsave
from tests.support.hosts import (
    AMX_HOST,
    VCPU,
    amx_vcpu,
    image,
    machine_with_vcpu,
    mxcsr,
    set_cpuid,
    with_behaviours,
    xstate_bv,
)

O2 = Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV
O3 = Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE
FAULT = Failed(errno.EFAULT)
ST = b"\x33" * 10 + bytes(6)
XMM = b"\x44" * 256
GIVEN = ST * 8 + struct.pack("<HHBxHQQ", 0x27F, 0x100, 0xFF, 0, 0, 0) + XMM + bytes(8)
INIT = bytes(128) + struct.pack("<H", 0x37F) + bytes(286)
# The same registers as an XSAVE image has them (SDM vol.1 table 10-2).
FP = GIVEN[128:152] + ST * 8


def vcpu(*behaviours):
    return machine_with_vcpu(with_behaviours(AMX_HOST, *behaviours), cpuid_xcr0=0x2E7)


def fpu(machine):
    return get_fpu(machine, VCPU).outcome.memory.content


def choices(machine):
    outcome = get_fpu(machine, VCPU).outcome
    return {choice.memory.content for choice in getattr(outcome, "choices", (outcome,))}


def xsave(machine):
    return get_xsave2(machine, VCPU).outcome.image.image


def after(machine, *steps):
    for step in steps:
        machine = step(machine)
    return machine


def setting(area):
    return lambda machine: set_fpu(machine, VCPU, area).machine


def restoring(given):
    return lambda machine: set_xsave(machine, VCPU, given).machine


def kicking(machine):
    return run_immediate_exit(machine, VCPU).machine


def test_a_fresh_vcpu_shows_init_state():
    assert fpu(vcpu()) == INIT


def test_what_was_set_is_read_back():
    assert fpu(after(vcpu(), setting(GIVEN))) == GIVEN


def test_setting_makes_x87_and_sse_part_of_the_image():
    shown = xsave(after(vcpu(), setting(GIVEN)))
    assert (xstate_bv(shown), shown[:24] + shown[32:160], shown[160:416]) == (0x3, FP, XMM)


def test_setting_keeps_other_components():
    machine = after(vcpu(), restoring(image(0x4, {2: b"\x22" * 256})), setting(GIVEN))
    assert (xstate_bv(xsave(machine)), xsave(machine)[576:832]) == (0x7, b"\x22" * 256)


def test_mxcsr_is_not_written():
    # contract 7.4
    given = GIVEN[:408] + b"\xa0\x1f\0\0" + bytes(4)
    assert mxcsr(xsave(after(vcpu(), setting(given)))) == 0x1F80


def test_mxcsr_of_the_image_survives():
    assert (
        mxcsr(xsave(after(vcpu(), restoring(image(0x2, mxcsr=0x1FA0)), setting(GIVEN)))) == 0x1FA0
    )


def test_mxcsr_is_not_read():
    # live correction 14: always 0
    assert fpu(after(vcpu(), restoring(image(0x3, mxcsr=0x1FA0))))[408:] == bytes(8)


def test_the_image_shows_in_the_legacy_view():
    assert fpu(after(vcpu(), restoring(image(0x3, {0: FP, 1: XMM})))) == GIVEN


@pytest.mark.parametrize(("bv", "seen"), [(0x0, INIT), (0x1, GIVEN[:152] + bytes(264))])
def test_what_xstate_bv_lacks_reads_as_init(bv, seen):
    machine = after(vcpu(), restoring(image(0x3, {0: FP, 1: XMM})))
    assert fpu(after(machine, restoring(image(bv, {0: FP})))) == seen


def test_it_survives_a_run():
    assert fpu(after(vcpu(), setting(GIVEN), kicking)) == GIVEN


@pytest.mark.parametrize("size", [0, 415])
def test_less_than_the_structure_is_efault(size):
    machine = vcpu()
    outcomes = [set_fpu(machine, VCPU, GIVEN[:size]).outcome, get_fpu(machine, VCPU, size).outcome]
    assert outcomes == [FAULT, FAULT]


def test_with_o2_setting_on_a_fresh_vcpu_is_lost():
    # O2: GET_XSAVE2 still says init, GET_FPU echoes the values
    machine = after(vcpu(O2), setting(GIVEN))
    assert (xstate_bv(xsave(machine)), fpu(machine)) == (0, GIVEN)


def test_with_o2_the_written_bytes_are_still_there_after_a_run():
    # live correction 15: before and after the run; a CPU may as well write INIT
    assert choices(after(vcpu(O2), setting(GIVEN), kicking)) == {
        GIVEN,
        INIT,
        GIVEN[:152] + bytes(264),
        INIT[:152] + GIVEN[152:],
    }


def test_with_o2_setting_takes_effect_where_the_bits_are_set():
    machine = after(vcpu(O2), restoring(image(0x3)), setting(GIVEN))
    assert (xstate_bv(xsave(machine)), fpu(machine)) == (0x3, GIVEN)


def test_with_o2_bytes_of_a_replaced_image_are_stale():
    machine = after(vcpu(O2), restoring(image(0x3, {0: FP, 1: XMM})), restoring(image(0)))
    assert fpu(machine) == GIVEN


def test_with_o2_a_component_whose_bit_a_run_left_open_is_init_or_as_set():
    machine = after(vcpu(O2), kicking, setting(GIVEN))
    shown = {
        (xstate_bv(choice.image.image) & 1, choice.image.image[:24])
        for choice in get_xsave2(machine, VCPU).outcome.choices
    }
    assert shown == {(1, FP[:24]), (0, INIT[128:152])}


def test_with_o2_and_o3_fcw_is_0_after_the_table_with_tiles():
    # live correction 14: still 0 after immediate_exit, while GET_XSAVE2 says 0x37f
    machine = machine_with_vcpu(with_behaviours(AMX_HOST, O2, O3), granted=True)
    machine = set_cpuid(machine, 0x602E7).machine
    assert get_fpu(machine, VCPU).outcome.fields == {"FCW": 0}
    assert bytes(416) in choices(kicking(machine))
    assert xsave(machine)[:2] == b"\x7f\x03"


def test_with_o3_alone_the_two_views_agree():
    machine = set_cpuid(
        machine_with_vcpu(with_behaviours(AMX_HOST, O3), granted=True), 0x602E7
    ).machine
    assert fpu(machine) == INIT


def test_after_a_run_only_what_hardware_need_not_keep_is_open():
    given = bytearray(GIVEN)
    given[10:16] = b"\xee" * 6
    given[136] = 1
    outcome = get_fpu(after(vcpu(), setting(bytes(given)), kicking), VCPU).outcome
    assert {place.offset for place in outcome.memory.unspecified} == {0}
    given[136:144] = b"\xff\xee\0\0\0\0\0\0"
    given[143] = 1
    outcome = get_fpu(after(vcpu(), setting(bytes(given)), kicking), VCPU).outcome
    assert {place.offset for place in outcome.memory.unspecified} == {0, 134}


def test_setting_is_done():
    assert set_fpu(amx_vcpu(), VCPU, GIVEN).outcome == Done()
