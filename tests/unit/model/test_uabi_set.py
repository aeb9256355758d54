"""kernel contract section 7.3: KVM_SET_XSAVE (INV-18, INV-19, INV-28)."""

import errno

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.msr import set_xfd
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.uabi import get_xsave2, set_xsave
from kvmprobe.model.xcr import set_xcr0
from tests.support.hosts import (
    AMX_HOST,
    AVX512_HOST,
    B9,
    B18,
    TILES,
    VCPU,
    amx_vcpu,
    image,
    machine_with_vcpu,
    set_cpuid,
    with_behaviours,
)

SETTABLE = {0, 1, 2, 5, 6, 7, 9, 17}
EINVAL = Failed(errno.EINVAL)


def armed(*behaviours):
    return set_xfd(amx_vcpu(*behaviours), VCPU, B18).machine


@pytest.mark.parametrize("nr", sorted(SETTABLE))
def test_each_default_component_can_be_set_before_set_cpuid2(nr):
    # contract 7.3: the guest's CPUID is not looked at.
    assert set_xsave(machine_with_vcpu(), VCPU, image(1 << nr)).outcome == Done()


@pytest.mark.parametrize("nr", sorted(set(range(64)) - SETTABLE))
def test_any_other_component_is_einval_before_set_cpuid2(nr):
    # steps 4 and 5; includes tile data, supervisor components, MPX and APX.
    assert set_xsave(machine_with_vcpu(), VCPU, image(1 << nr)).outcome == EINVAL


def test_tile_data_can_be_set_once_the_guest_has_it():
    assert set_xsave(amx_vcpu(), VCPU, image(TILES)).outcome == Done()


def test_tile_data_can_be_set_after_a_table_without_tiles():
    # contract 4: "SET_XSAVE with BV[18] is still accepted".
    dropped = set_cpuid(amx_vcpu(), 0x2E7).machine
    assert set_xsave(dropped, VCPU, image(TILES)).outcome == Done()


def test_an_image_without_any_component_is_accepted():
    assert set_xsave(machine_with_vcpu(), VCPU, image(0)).outcome == Done()


def test_pkru_on_a_host_without_it_is_einval():
    machine = machine_with_vcpu(AVX512_HOST, cpuid_xcr0=0xE7)
    assert set_xsave(machine, VCPU, image(B9, host=AVX512_HOST)).outcome == EINVAL


@pytest.mark.parametrize("bit", [0, 18, 63])
def test_any_bit_of_xcomp_bv_is_einval(bit):
    assert set_xsave(machine_with_vcpu(), VCPU, image(0, xcomp_bv=1 << bit)).outcome == EINVAL


@pytest.mark.parametrize("place", [0, 23, 47])
def test_any_reserved_header_byte_is_einval(place):
    reserved = bytes(place) + b"\1" + bytes(47 - place)
    assert set_xsave(machine_with_vcpu(), VCPU, image(0, reserved=reserved)).outcome == EINVAL


@pytest.mark.parametrize("nr", [0, 1, 2])
def test_a_reserved_mxcsr_bit_is_einval_with_a_component_that_uses_mxcsr(nr):
    # step 8
    given = image(1 << nr, mxcsr=0x1_1F80)
    assert set_xsave(machine_with_vcpu(), VCPU, given).outcome == EINVAL


@pytest.mark.parametrize("nr", [5, 6, 7, 9, 17])
def test_a_reserved_mxcsr_bit_is_ignored_with_other_components(nr):
    given = image(1 << nr, mxcsr=0x1_1F80)
    assert set_xsave(machine_with_vcpu(), VCPU, given).outcome == Done()


def test_which_mxcsr_bits_are_reserved_is_the_hosts_to_say():
    # AMD has bit 17 (misaligned exception mask): live correction 10, mask 0x2ffff.
    given = image(0x2, host=AVX512_HOST, mxcsr=0x2_1F80)
    assert set_xsave(machine_with_vcpu(AVX512_HOST), VCPU, given).outcome == Done()


def test_the_mask_in_the_image_does_not_decide_which_bits_are_legal():
    given = image(0x2, mxcsr=0x1_1F80, mxcsr_mask=0xFFFF_FFFF)
    assert set_xsave(machine_with_vcpu(), VCPU, given).outcome == EINVAL


def test_padding_and_software_bytes_are_not_looked_at():
    dirty = bytearray(image(0))
    dirty[416:512] = b"\xff" * 96
    assert set_xsave(machine_with_vcpu(), VCPU, bytes(dirty)).outcome == Done()


def test_bytes_beyond_the_vcpus_image_are_not_looked_at():
    # INV-14: exactly `uabi` bytes are read.
    assert set_xsave(machine_with_vcpu(), VCPU, image(0)[:4096] + b"\xff" * 6912).outcome == Done()


def test_xcr0_does_not_decide_what_can_be_set():
    # INV-18
    machine = set_xcr0(amx_vcpu(), VCPU, 0x1).machine
    assert set_xsave(machine, VCPU, image(0x602E7)).outcome == Done()


@pytest.mark.parametrize(
    "given",
    [image(1 << 10), image(0x3, xcomp_bv=1), image(0x3, mxcsr=1 << 16)],
    ids=["component", "xcomp_bv", "mxcsr"],
)
def test_a_refused_image_changes_nothing(given):
    # INV-19
    machine = set_xsave(amx_vcpu(), VCPU, image(0x60207, {9: b"\x0c" + bytes(7)})).machine
    assert set_xsave(machine, VCPU, given).machine == machine


def test_components_that_the_image_lacks_become_init():
    loaded = set_xsave(amx_vcpu(), VCPU, image(0x602E7)).machine
    assert set_xsave(loaded, VCPU, image(0x3)).machine.vcpu(VCPU).fpstate.xstate_bv == 0x3


def test_pkru_is_taken_from_an_image_that_has_it():
    given = image(B9, {9: b"\x0c\0\0\x40" + bytes(4)})
    assert set_xsave(machine_with_vcpu(), VCPU, given).machine.vcpu(VCPU).pkru == 0x4000_000C


def test_pkru_survives_an_image_that_lacks_it():
    # INV-22
    loaded = set_xsave(machine_with_vcpu(), VCPU, image(B9, {9: b"\x0c" + bytes(7)})).machine
    assert set_xsave(loaded, VCPU, image(0x3)).machine.vcpu(VCPU).pkru == 0xC


def test_tile_data_with_xfd_armed_is_dropped_without_an_error():
    # INV-28
    assert set_xsave(armed(), VCPU, image(TILES)).outcome == Done()


def test_tile_data_with_xfd_armed_is_dropped_from_xstate_bv():
    # INV-28; seen live: BV_out=0x20000
    assert set_xsave(armed(), VCPU, image(TILES)).machine.vcpu(VCPU).fpstate.xstate_bv == 0x20000


def test_tile_data_dropped_under_xfd_stays_away_when_xfd_is_cleared():
    # INV-28, live: F;A;F0
    loaded = set_xsave(armed(), VCPU, image(TILES, {18: b"\x11" * 8192})).machine
    read = get_xsave2(set_xfd(loaded, VCPU, 0).machine, VCPU).outcome.image.image
    assert not any(read[2816:11008])


def test_with_the_b1_defect_tile_data_is_kept_under_xfd():
    # known-bugs B1: GET_XSAVE2 returns BV=0x60000
    machine = armed(Behaviour.SET_XSAVE_KEEPS_XFD_ARMED)
    assert set_xsave(machine, VCPU, image(TILES)).machine.vcpu(VCPU).fpstate.xstate_bv == 0x60000


def test_with_the_o1_defect_alone_tile_data_is_dropped_under_xfd():
    machine = armed(Behaviour.XFD_WRITE_KEEPS_XSTATE_BV)
    assert set_xsave(machine, VCPU, image(TILES)).machine.vcpu(VCPU).fpstate.xstate_bv == 0x20000


def test_setting_xsave_leaves_xcr0_and_xfd_alone():
    # INV-38
    vcpu = set_xsave(set_xcr0(armed(), VCPU, 0x7).machine, VCPU, image(0x602E7)).machine.vcpu(VCPU)
    assert (vcpu.xcr0, vcpu.xfd) == (0x7, B18)


@pytest.mark.parametrize("size", [0, 575, 4095])
def test_an_image_that_cannot_be_read_whole_is_efault(size):
    # contract 7.3 step 1: before any other check
    given = image(1 << 63)[:size]
    assert set_xsave(machine_with_vcpu(), VCPU, given).outcome == Failed(errno.EFAULT)


def test_4096_bytes_are_enough_for_a_vcpu_without_tiles():
    # INV-14
    assert set_xsave(machine_with_vcpu(), VCPU, image(0x7)[:4096]).outcome == Done()


@pytest.mark.parametrize("size", [4096, 11007])
def test_less_than_11008_bytes_are_efault_for_a_vcpu_with_tiles(size):
    # contract 7.1: "a 4096-byte buffer over-reads"
    assert set_xsave(amx_vcpu(), VCPU, image(0)[:size]).outcome == Failed(errno.EFAULT)


def limited_by(cpuid_xcr0):
    host = with_behaviours(AMX_HOST, Behaviour.SET_XSAVE_LIMITED_BY_CPUID)
    return machine_with_vcpu(host, cpuid_xcr0=cpuid_xcr0)


def test_with_the_c8_defect_a_component_that_the_guest_lacks_is_einval():
    # known-bugs C8: CPUID without PKU, SET BV[9]=1
    assert set_xsave(limited_by(0xE7), VCPU, image(B9)).outcome == EINVAL


def test_with_the_c8_defect_fp_and_sse_are_always_accepted():
    # known-bugs C6
    assert set_xsave(limited_by(0), VCPU, image(0x3)).outcome == Done()


def test_with_the_c8_defect_anything_is_accepted_before_set_cpuid2():
    assert set_xsave(limited_by(None), VCPU, image(B9)).outcome == Done()


def test_without_it_a_component_that_the_guest_lacks_is_accepted():
    assert set_xsave(machine_with_vcpu(cpuid_xcr0=0xE7), VCPU, image(B9)).outcome == Done()
