"""kernel contract sections 2 and 4: supported CPUID, KVM_CAP_XSAVE2, KVM_SET_CPUID2."""

import errno

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.cpuid import check_xsave2, get_supported
from kvmprobe.model.machine import GuestCpuid, Machine
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.permission import request_guest_permission
from kvmprobe.model.run import run_immediate_exit, run_until_halt
from kvmprobe.model.uabi import get_xsave2, set_xsave
from tests.support.hosts import (
    AMX_HOST,
    AVX512_HOST,
    VCPU,
    amx_vcpu,
    image,
    machine_with_vcpu,
    set_cpuid,
    with_behaviours,
    xstate_bv,
)

XCR0, SIZE = "0xD.0:EDX:EAX", "0xD.0:ECX"
FRESH = Machine.fresh(AMX_HOST)
GRANTED = request_guest_permission(FRESH, 18).machine
B4 = Machine.fresh(with_behaviours(AMX_HOST, Behaviour.XTILE_CFG_ADVERTISED_ALONE))
XMM = b"\x77" * 256


def exported(machine):
    return get_xsave2(machine, VCPU).outcome.image.image


def test_supported_cpuid_without_permission_has_neither_tile_bit():
    # known-bugs B4, fixed side: D.0:EAX=0x2e7, size 0xa88.
    assert get_supported(FRESH, "t").outcome == Done(fields={XCR0: 0x2E7, SIZE: 0xA88})


def test_supported_cpuid_with_permission_has_both_tile_bits():
    assert get_supported(GRANTED, "t").outcome == Done(fields={XCR0: 0x602E7, SIZE: 11008})


def test_supported_cpuid_of_the_b4_defect_has_xtile_cfg_alone():
    # known-bugs B4, vulnerable side: D.0:EAX=0x202e7, size 0xb00.
    assert get_supported(B4, "t").outcome == Done(fields={XCR0: 0x202E7, SIZE: 0xB00})


def test_the_b4_defect_makes_no_difference_with_permission():
    granted = request_guest_permission(B4, 18).machine
    assert get_supported(granted, "t").outcome.fields[XCR0] == 0x602E7


def test_supported_cpuid_of_a_host_without_amx():
    # Hi16_ZMM ends at 1664 + 1024.
    machine = Machine.fresh(AVX512_HOST)
    assert get_supported(machine, "t").outcome == Done(fields={XCR0: 0xE7, SIZE: 2688})


def test_supported_cpuid_never_exceeds_what_kvm_can_give():
    # The kernel may know components that KVM does not offer: contract 0.1, KXCR0.
    host = with_behaviours(AMX_HOST)
    narrow = Machine.fresh(type(host)(0x602E7, 0xE7, 0xFFFF, host.layout))
    assert get_supported(narrow, "t").outcome.fields[XCR0] == 0xE7


def test_the_table_is_kept_as_it_was_when_it_was_fetched():
    stale = get_supported(FRESH, "t").machine
    assert request_guest_permission(stale, 18).machine.captured["t"] == GuestCpuid(0x2E7)


def test_xsave2_is_4096_without_permission():
    assert check_xsave2(FRESH).outcome == Done(4096)


def test_xsave2_is_11008_with_permission():
    assert check_xsave2(GRANTED).outcome == Done(11008)


def test_xsave2_is_4096_with_the_b4_defect():
    # 2816 bytes, but never below struct kvm_xsave.
    assert check_xsave2(B4).outcome == Done(4096)


def test_set_cpuid2_with_tiles_and_permission_succeeds():
    assert set_cpuid(machine_with_vcpu(granted=True), 0x602E7).outcome == Done()


def test_set_cpuid2_with_tiles_without_permission_is_eperm():
    # INV-11
    assert set_cpuid(machine_with_vcpu(), 0x602E7).outcome == Failed(errno.EPERM)


def test_set_cpuid2_that_is_eperm_changes_no_vcpu():
    # INV-11
    before = machine_with_vcpu(cpuid_xcr0=0x2E7)
    assert set_cpuid(before, 0x602E7).machine.vcpus == before.vcpus


def test_set_cpuid2_with_xtile_cfg_alone_needs_no_permission():
    # contract 4: only bit 18 triggers.
    assert set_cpuid(machine_with_vcpu(), 0x202E7).outcome == Done()


def test_set_cpuid2_limits_the_guest_to_what_kvm_can_give():
    # contract 0.2: gx = 0xD.0 and KXCR0; bit 19 is APX, which KVM does not give.
    machine = set_cpuid(machine_with_vcpu(), 0x2E7 | 1 << 19).machine
    assert machine.vcpu(VCPU).guest_xcr0 == 0x2E7


def test_the_first_table_with_tiles_makes_room_for_tile_data():
    assert amx_vcpu().vcpu(VCPU).uabi_size == 11008


def test_the_first_table_with_tiles_lets_user_space_set_tile_data():
    assert amx_vcpu().vcpu(VCPU).user_xfeatures == 0x602E7


def test_permission_without_a_table_with_tiles_keeps_4096_bytes():
    # contract 2: cap=11008 while the vCPU moves 4096.
    machine = machine_with_vcpu(granted=True, cpuid_xcr0=0x2E7)
    assert machine.vcpu(VCPU).uabi_size == 4096


def test_the_first_table_with_tiles_keeps_the_guest_fpu():
    # known-bugs O3: nothing tells a VMM that what it restored is lost.
    machine = set_xsave(machine_with_vcpu(granted=True), VCPU, image(0x3, {1: XMM})).machine
    kept = image(0x3, {1: XMM, 0: bytes(152)}, software_word=0x602E7)
    assert exported(set_cpuid(machine, 0x602E7).machine) == kept


def test_the_first_table_with_tiles_of_the_o3_defect_empties_the_guest_fpu():
    # INV-31, known-bugs O3
    o3 = with_behaviours(AMX_HOST, Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE)
    machine = set_xsave(
        machine_with_vcpu(o3, granted=True), VCPU, image(0x3, {1: XMM}, mxcsr=0x1FA0)
    ).machine
    # contract 7.2 with BV=0: FCW 0x37f, MXCSR 0x1f80 and the host's mask, software word, zeros.
    empty = image(0, {0: b"\x7f\x03" + bytes(150)}, software_word=0x602E7)
    assert exported(set_cpuid(machine, 0x602E7).machine) == empty


def test_a_second_table_with_tiles_keeps_the_guest_fpu():
    # INV-31
    machine = set_xsave(amx_vcpu(), VCPU, image(0x3, {1: XMM})).machine
    assert exported(set_cpuid(machine, 0x602E7).machine) == exported(machine)


def test_a_table_without_tiles_keeps_the_guest_fpu():
    # INV-32
    machine = set_xsave(machine_with_vcpu(), VCPU, image(0x3, {1: XMM})).machine
    assert exported(set_cpuid(machine, 0x2E7).machine) == exported(machine)


def test_a_table_without_tiles_hides_tile_data():
    # INV-33
    machine = set_xsave(amx_vcpu(), VCPU, image(0x60000, {18: b"\x11" * 8192})).machine
    assert xstate_bv(exported(set_cpuid(machine, 0x2E7).machine)) == 0


def test_a_table_without_tiles_keeps_the_size_of_the_image():
    # INV-33
    assert len(exported(set_cpuid(amx_vcpu(), 0x2E7).machine)) == 11008


def test_tile_data_is_back_when_a_table_with_tiles_is():
    # INV-33
    machine = set_xsave(amx_vcpu(), VCPU, image(0x60000, {18: b"\x11" * 8192})).machine
    without = set_cpuid(machine, 0x2E7).machine
    assert exported(set_cpuid(without, 0x602E7).machine) == exported(machine)


def test_a_vcpu_with_tiles_gets_them_again_without_permission():
    # INV-11: "or this vCPU already enabled b18"; the caller may be another process (live 17).
    machine = set_cpuid(amx_vcpu(), 0x2E7).machine
    revoked = machine.process("").but(guest_perm=0x202E7)
    machine = machine.with_process("", revoked)
    assert set_cpuid(machine, 0x602E7).outcome == Done()


def test_a_table_does_not_touch_xcr0():
    # contract 4: not revalidated, cleared or clamped.
    machine = amx_vcpu()
    set_before = machine.with_vcpu(VCPU, machine.vcpu(VCPU).but(xcr0=0x60003))
    assert set_cpuid(set_before, 0x7).machine.vcpu(VCPU).xcr0 == 0x60003


def test_a_table_does_not_touch_xfd():
    machine = amx_vcpu()
    armed = machine.with_vcpu(VCPU, machine.vcpu(VCPU).but(xfd=1 << 18))
    assert set_cpuid(armed, 0x7).machine.vcpu(VCPU).xfd == 1 << 18


def test_the_same_table_after_a_run_succeeds():
    # INV-12
    machine = run_until_halt(amx_vcpu(), VCPU).machine
    assert set_cpuid(machine, 0x602E7).outcome == Done()


def test_another_table_after_a_run_is_einval():
    # INV-12
    machine = run_until_halt(amx_vcpu(), VCPU).machine
    assert set_cpuid(machine, 0x2E7).outcome == Failed(errno.EINVAL)


def test_a_first_table_after_a_run_is_einval():
    # INV-12: the empty table is what it has to equal.
    machine = run_until_halt(machine_with_vcpu(), VCPU).machine
    assert set_cpuid(machine, 0x2E7).outcome == Failed(errno.EINVAL)


def test_another_table_after_a_run_is_einval_before_it_is_eperm():
    # contract 4: step 2 comes before step 4.
    machine = run_until_halt(machine_with_vcpu(cpuid_xcr0=0x2E7), VCPU).machine
    assert set_cpuid(machine, 0x602E7).outcome == Failed(errno.EINVAL)


def test_another_table_after_an_immediate_exit_succeeds():
    # INV-12
    machine = run_immediate_exit(amx_vcpu(), VCPU).machine
    assert set_cpuid(machine, 0x2E7).outcome == Done()


@pytest.mark.parametrize("nr", [0x202E7, 0x402E7])
def test_half_a_tile_pair_in_the_table_is_accepted(nr):
    # contract 4: "0xD.0 with b18 but not b17: accepted", and the reverse.
    assert set_cpuid(machine_with_vcpu(granted=True), nr).outcome == Done()
