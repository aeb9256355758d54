"""kernel contract section 7.2: KVM_GET_XSAVE2 (INV-14 to INV-17, INV-20 to INV-22)."""

import errno

import pytest

from kvmprobe.model.outcome import Failed
from kvmprobe.model.uabi import get_xsave, get_xsave2, set_xsave
from tests.support.hosts import (
    AMX_LAYOUT,
    AVX512_HOST,
    B9,
    TILES,
    VCPU,
    amx_vcpu,
    image,
    machine_with_vcpu,
    mxcsr,
    set_cpuid,
    xstate_bv,
)

FP_INIT = b"\x7f\x03" + bytes(22)


def read_after(machine, *images):
    for given in images:
        machine = set_xsave(machine, VCPU, given).machine
    return get_xsave2(machine, VCPU).outcome.image.image


@pytest.fixture
def fresh():
    return read_after(machine_with_vcpu())


def test_a_fresh_vcpu_exports_no_component(fresh):
    # INV-15
    assert xstate_bv(fresh) == 0


def test_a_fresh_vcpu_exports_4096_bytes(fresh):
    assert len(fresh) == 4096


def test_a_fresh_vcpu_has_fcw_37f(fresh):
    assert fresh[:24] == FP_INIT


def test_a_fresh_vcpu_has_mxcsr_1f80(fresh):
    assert mxcsr(fresh) == 0x1F80


def test_a_fresh_vcpu_shows_the_hosts_mxcsr_mask(fresh):
    assert fresh[28:32] == b"\xff\xff\0\0"


def test_the_software_word_is_what_user_space_may_use_at_most(fresh):
    # INV-16: bytes 464..471 = GET_XCOMP_SUPP
    assert int.from_bytes(fresh[464:472], "little") == 0x602E7


def test_everything_else_of_a_fresh_vcpu_is_zero(fresh):
    assert not any(fresh[32:464] + fresh[472:])


def test_a_fresh_vcpu_of_amd_shows_amds_mask():
    # live correction 10: 0x2ffff
    assert read_after(machine_with_vcpu(AVX512_HOST))[28:32] == b"\xff\xff\2\0"


def test_a_vcpu_with_tiles_exports_11008_bytes():
    assert len(read_after(amx_vcpu())) == 11008


def test_before_set_cpuid2_only_fp_and_sse_are_visible():
    assert xstate_bv(read_after(machine_with_vcpu(), image(0x2E7))) == 0x3


def test_before_set_cpuid2_hidden_data_reads_as_zero():
    read = read_after(machine_with_vcpu(), image(0x4, {2: b"\x22" * 256}))
    assert not any(read[576:832])


def test_hidden_data_shows_once_cpuid_has_the_component():
    machine = set_xsave(machine_with_vcpu(), VCPU, image(0x4, {2: b"\x22" * 256})).machine
    read = get_xsave2(set_cpuid(machine, 0x7).machine, VCPU).outcome.image.image
    assert read[576:832] == b"\x22" * 256


@pytest.mark.parametrize("nr", [1, 2, 5, 6, 7, 17, 18])
def test_content_is_read_back_as_it_was_set(nr):
    # INV-20
    size = 256 if nr == 1 else AMX_LAYOUT.component(nr).size
    offset = 160 if nr == 1 else AMX_LAYOUT.component(nr).offset
    read = read_after(amx_vcpu(), image(1 << nr, {nr: b"\x5a" * size}))
    assert read[offset : offset + size] == b"\x5a" * size


def test_x87_content_is_read_back_as_it_was_set():
    content = bytes(range(1, 25)) + b"\x33" * 128
    read = read_after(amx_vcpu(), image(0x1, {0: content}))
    assert read[:24] + read[32:160] == content


def test_content_without_its_bit_reads_as_init():
    read = read_after(amx_vcpu(), image(0x1, {2: b"\x22" * 256}))
    assert not any(read[576:832])


def test_x87_without_its_bit_reads_as_init():
    read = read_after(amx_vcpu(), image(0x2, {0: b"\x11" * 152}))
    assert read[:24] + read[32:160] == FP_INIT + bytes(128)


def test_only_32_bits_of_pkru_survive():
    # INV-20
    read = read_after(amx_vcpu(), image(B9, {9: b"\1\2\3\4\5\6\7\x08"}))
    assert read[2688:2696] == b"\1\2\3\4\0\0\0\0"


def test_pkru_without_its_bit_reads_as_zero():
    # contract 7.3: kept, "although GET then shows BV[9]=0 and zeros"
    read = read_after(amx_vcpu(), image(B9, {9: b"\x0c" + bytes(7)}), image(0x3))
    assert read[2688:2696] == bytes(8)


@pytest.mark.parametrize("bv", [0x2, 0x4, 0x6, 0x7])
def test_mxcsr_is_read_back_with_sse_or_ymm(bv):
    # INV-21
    assert mxcsr(read_after(amx_vcpu(), image(bv, mxcsr=0x1FA0))) == 0x1FA0


@pytest.mark.parametrize("bv", [0x0, 0x1, 0x20, 0x60000])
def test_mxcsr_is_1f80_without_sse_and_ymm(bv):
    # INV-21: "FP alone does not export MXCSR"
    assert mxcsr(read_after(amx_vcpu(), image(bv, mxcsr=0x1FA0))) == 0x1F80


def test_mxcsr_of_ymm_that_the_guest_lacks_is_not_exported():
    # INV-21: BV & {SSE,YMM} & (gx|3)
    assert mxcsr(read_after(machine_with_vcpu(), image(0x4, mxcsr=0x1FA0))) == 0x1F80


def test_mxcsr_that_x87_brought_shows_when_it_is_not_replaced():
    # contract 7.3: stored if FP; SSE alone stores its own.
    read = read_after(amx_vcpu(), image(0x1, mxcsr=0x1FA0), image(0x2, mxcsr=0x1F00))
    assert mxcsr(read) == 0x1F00


def test_the_mask_bytes_are_read_back_as_they_were_set():
    # live 19: 0x12345 read back
    read = read_after(amx_vcpu(), image(0x2, mxcsr_mask=0x12345))
    assert read[28:32] == b"\x45\x23\1\0"


def test_the_mask_bytes_are_the_hosts_without_sse_and_ymm():
    read = read_after(amx_vcpu(), image(0x1, mxcsr_mask=0x12345))
    assert read[28:32] == b"\xff\xff\0\0"


def test_software_bytes_of_the_given_image_do_not_come_back():
    read = read_after(amx_vcpu(), image(0x3, software_word=0x1111))
    assert int.from_bytes(read[464:472], "little") == 0x602E7


def test_without_a_run_nothing_is_left_open():
    machine = set_xsave(amx_vcpu(), VCPU, image(0x602E7)).machine
    assert get_xsave2(machine, VCPU).outcome.image.unspecified == ()


def test_reading_changes_nothing():
    machine = set_xsave(amx_vcpu(), VCPU, image(TILES)).machine
    assert get_xsave2(machine, VCPU).machine == machine


def test_the_old_call_reads_the_same_4096_bytes():
    machine = set_xsave(machine_with_vcpu(cpuid_xcr0=0x2E7), VCPU, image(0x2E7)).machine
    assert get_xsave(machine, VCPU).outcome == get_xsave2(machine, VCPU).outcome


def test_the_old_call_is_einval_for_a_vcpu_with_tiles():
    # INV-13
    assert get_xsave(amx_vcpu(), VCPU).outcome == Failed(errno.EINVAL)


def test_the_old_call_stays_einval_when_cpuid_drops_tiles():
    # INV-13: monotone
    dropped = set_cpuid(amx_vcpu(), 0x2E7).machine
    assert get_xsave(dropped, VCPU).outcome == Failed(errno.EINVAL)


def test_the_old_call_is_einval_before_it_is_efault():
    assert get_xsave(amx_vcpu(), VCPU, 0).outcome == Failed(errno.EINVAL)


@pytest.mark.parametrize("call", [get_xsave, get_xsave2])
def test_less_than_the_image_is_efault(call):
    # INV-14
    assert call(machine_with_vcpu(), VCPU, 4095).outcome == Failed(errno.EFAULT)


@pytest.mark.parametrize("call", [get_xsave, get_xsave2])
def test_exactly_the_image_is_enough(call):
    assert (
        call(machine_with_vcpu(), VCPU, 4096).outcome
        == get_xsave2(machine_with_vcpu(), VCPU).outcome
    )


def test_4096_bytes_are_efault_for_a_vcpu_with_tiles():
    assert get_xsave2(amx_vcpu(), VCPU, 4096).outcome == Failed(errno.EFAULT)
