"""XCR0, CR0, CR4, PKRU and CPUID in a guest: kernel contract §6; INV-22, INV-35, INV-40."""

import pytest

from kvmprobe.model.guest_control import (
    clts,
    cpuid,
    rdpkru,
    read_cr4,
    write_cr0,
    write_cr4,
    wrpkru,
    xgetbv,
    xsetbv,
    xsetbv_by_user,
)
from kvmprobe.model.uabi import set_xsave
from kvmprobe.model.xcr import set_xcr0
from tests.support.guests import (
    ALL,
    GP,
    NONE,
    OSXSAVE,
    PKE,
    UD,
    edx_eax,
    in_payload,
    run,
    step,
    vector,
    without_feature,
)
from tests.support.hosts import B0, B1, B9, VCPU, cet_host, image

MASKS = [0, 1, 2, 3, 5, 7, 0x18, 0x27, 0xE7, 0xE6, 0x203, 0x20003, 0x60003, ALL, ALL | 1 << 19]
NO_OSXSAVE = {"cr4": 0x620}


@pytest.mark.parametrize("mask", MASKS)
def test_xsetbv_takes_what_set_xcrs_takes(mask):
    # INV-40
    machine = in_payload(xcr0=1)
    by_host = set_xcr0(machine, VCPU, mask)
    by_guest = step(machine, xsetbv, mask)
    accepted = by_guest.outcome.fields["vector"] == NONE
    same_xcr0 = by_guest.machine.vcpu(VCPU).xcr0 == by_host.machine.vcpu(VCPU).xcr0
    assert (accepted, same_xcr0) == (not hasattr(by_host.outcome, "errno"), True)


def test_xsetbv_of_another_register_is_gp():
    assert vector(in_payload(), xsetbv, 1, ecx=1) == GP


@pytest.mark.parametrize("instruction", [xgetbv, xsetbv, xsetbv_by_user])
def test_without_osxsave_xgetbv_and_xsetbv_are_ud(instruction):
    assert vector(in_payload(**NO_OSXSAVE), instruction, 1) == UD


def test_a_user_may_not_write_even_a_legal_xcr0():
    assert vector(in_payload(), xsetbv_by_user, 1) == GP


def test_xgetbv_reads_xcr0():
    assert edx_eax(step(in_payload(xcr0=7), xgetbv).outcome) == 7


def test_xgetbv_of_a_register_that_is_not_there_is_gp():
    assert vector(in_payload(), xgetbv, ecx=2) == GP


def test_xgetbv_1_tells_what_is_in_use_and_leaves_init_open():
    # SDM vol.1 §13.6: XINUSE of a component in INIT state may be 1
    machine = set_xsave(in_payload(xcr0=7), VCPU, image(B1, {1: b"\x5a" * 256})).machine
    outcome = step(machine, xgetbv, ecx=1).outcome
    assert (outcome.fields["rax"], outcome.open_fields["rax"]) == (2, 5)


def test_clts_clears_ts_alone():
    assert run(in_payload(cr0=0x8001_003B), clts).vcpu(VCPU).cr0 == 0x8001_0033


@pytest.mark.parametrize("cr0", [0x0001_0033, 0x8001_0032, 0xA001_0033, 0x1_8001_0033])
def test_illegal_cr0_is_gp(cr0):
    # SDM vol.3 §2.5: no PG in 64-bit mode, PG without PE, NW without CD, upper half
    assert vector(in_payload(), write_cr0, rax=cr0) == GP


def test_et_of_cr0_stays():
    assert step(in_payload(), write_cr0, rax=0x8001_0023).machine.vcpu(VCPU).cr0 == 0x8001_0033


@pytest.mark.parametrize(
    ("bit", "feature"), [(OSXSAVE, (1, 0, "ecx", 26)), (PKE, (7, 0, "ecx", 3))]
)
def test_a_bit_of_cr4_needs_its_feature_in_cpuid(bit, feature):
    # INV-34
    assert vector(in_payload(without_feature(*feature)), write_cr4, rax=0x620 | bit) == GP


def test_with_it_the_bit_is_set():
    machine = step(in_payload(**NO_OSXSAVE), write_cr4, rax=0x620 | OSXSAVE | PKE).machine
    assert step(machine, read_cr4).outcome.fields["rax"] == 0x620 | OSXSAVE | PKE


def test_cr4_without_pae_is_gp_in_long_mode():
    assert vector(in_payload(), write_cr4, rax=0x600) == GP


@pytest.mark.parametrize("instruction", [rdpkru, wrpkru])
def test_pkru_without_cr4_pke_is_ud(instruction):
    assert vector(in_payload(), instruction) == UD


@pytest.mark.parametrize("instruction", [rdpkru, wrpkru])
def test_pkru_with_ecx_is_gp(instruction):
    assert vector(in_payload(cr4=0x620 | PKE), instruction, ecx=1) == GP


def test_wrpkru_with_edx_is_gp():
    assert vector(in_payload(cr4=0x620 | PKE), wrpkru, 1 << 32) == GP


def test_what_wrpkru_wrote_rdpkru_reads():
    machine = step(in_payload(cr4=0x620 | PKE), wrpkru, 0xC).machine
    assert edx_eax(step(machine, rdpkru).outcome) == 0xC


@pytest.mark.parametrize(("xstate_bv", "pkru"), [(B9, 0x30), (B0, 0xC)])
def test_an_image_without_pkru_leaves_the_guests(xstate_bv, pkru):
    # INV-22
    machine = step(in_payload(cr4=0x620 | PKE), wrpkru, 0xC).machine
    contents = {9: b"\x30" + bytes(7), 0: b"\x7f\x02" + bytes(150)}
    machine = set_xsave(machine, VCPU, image(xstate_bv, contents)).machine
    assert edx_eax(step(machine, rdpkru).outcome) == pkru


@pytest.mark.parametrize(("xcr0", "size"), [(1, 576), (7, 832), (0xE7, 2688), (ALL, 11008)])
def test_cpuid_tells_the_size_of_xcr0s_image(xcr0, size):
    # INV-35; offsets of Sapphire Rapids: YMM ends at 832, Hi16_ZMM at 2688, XTILE_DATA at 11008
    assert step(in_payload(xcr0=xcr0), cpuid, 0xD).outcome.fields["rbx"] == size


def test_cpuid_shows_osxsave_as_cr4_has_it():
    shown = [step(in_payload(cr4=cr4), cpuid, 1).outcome.fields["rcx"] for cr4 in (0x620, 0x40620)]
    assert [ecx >> 27 & 1 for ecx in shown] == [0, 1]


CR4_CET, CR4_LA57, CR0_WP = 1 << 23, 1 << 12, 1 << 16
CR0, CR4 = 0x8001_0033, 0x620


def with_cet(**fields):
    host = cet_host(la57=True)
    return in_payload(host.supported, host=host, **fields)


# Fault 21: SDM vol.3 §2.5: CR4.CET can be set only if CR0.WP is set, and must be clear before
# CR0.WP can be cleared.
@pytest.mark.parametrize(("cr0", "expected"), [(CR0, NONE), (CR0 & ~CR0_WP, GP)])
def test_cr4_cet_needs_cr0_wp(cr0, expected):
    assert vector(with_cet(cr0=cr0), write_cr4, rax=CR4 | CR4_CET) == expected


@pytest.mark.parametrize(("cr4", "expected"), [(CR4, NONE), (CR4 | CR4_CET, GP)])
def test_cr0_wp_is_not_cleared_with_cr4_cet(cr4, expected):
    assert vector(with_cet(cr4=cr4), write_cr0, rax=CR0 & ~CR0_WP) == expected


def test_cr4_la57_does_not_change_in_long_mode():
    # SDM vol.2 "MOV—Move to/from Control Registers": #GP with IA32_EFER.LMA
    assert vector(with_cet(), write_cr4, rax=CR4 | CR4_LA57) == GP
