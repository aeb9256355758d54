"""Two readings of CPUID: the ``cpuid`` package's and our own instruction's."""

from __future__ import annotations

import pytest

from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.bindings import host_cpu
from kvmprobe.bindings.gateway import get_xcomp

# Leaf 1 EBX has the initial APIC id; 0BH, 1FH and 8000001EH are about this thread's place.
VOLATILE = {0xB, 0x1F, 0x8000_001E}
SUBLEAVES = {4: 8, 7: 3, 0xD: 63, 0x1D: 2, 0x1E: 2}


def leaves():
    for base in (0, 0x8000_0000):
        last = host_cpu.own_leaf(base, 0).eax
        for number in range(base, last + 1):
            for subleaf in range(SUBLEAVES.get(number, 1)):
                yield number, subleaf


def test_both_readings_agree_on_every_leaf():
    with host_cpu.pinned():
        different = [
            (hex(number), subleaf)
            for number, subleaf in leaves()
            if number not in VOLATILE
            and host_cpu.leaf(number, subleaf) != host_cpu.own_leaf(number, subleaf)
        ]
    assert different == []


@pytest.mark.parametrize("base", [0, 0x8000_0000], ids=hex)
def test_a_leaf_beyond_the_maximum_is_all_zero(base):
    # A CPU answers those with the data of its highest leaf: SDM vol.2 CPUID.
    with host_cpu.pinned():
        beyond = host_cpu.own_leaf(base, 0).eax + 1
        assert host_cpu.leaf(beyond) == (0, 0, 0, 0)


def test_xcr0_has_x87():
    # SDM vol.1 13.3: bit 0 is always 1.
    assert host_cpu.xcr0() & 1


def test_xcr0_is_within_what_the_cpu_supports():
    registers = host_cpu.own_leaf(0xD, 0)
    assert not host_cpu.xcr0() & ~(registers.eax | registers.edx << 32)


def test_xcr0_is_within_the_kernels_user_features():
    # contract section 1: GET_XCOMP_SUPP is the host's user features.
    assert host_cpu.xcr0() | 3 == get_xcomp(ArchPrctlCode.GET_XCOMP_SUPP)


def test_xinuse_is_within_xcr0():
    # SDM vol.1 13.2: XGETBV with ECX=1 gives XCR0 & XINUSE.
    assert not host_cpu.xinuse() & ~host_cpu.xcr0()


def test_the_vendor_is_one_that_kvm_knows():
    assert host_cpu.vendor() in {"GenuineIntel", "AuthenticAMD", "HygonGenuine", "CentaurHauls"}


def test_the_signature_is_leaf_1_eax():
    assert host_cpu.signature() == host_cpu.own_leaf(1, 0).eax


def test_the_mxcsr_mask_has_all_architectural_bits():
    # SDM vol.1 11.6.6: the default is FFBFH, FFFFH with DAZ.
    assert host_cpu.mxcsr_mask() & 0xFFBF == 0xFFBF


def test_pinning_ends_with_its_block():
    import psutil

    before = psutil.Process().cpu_affinity()
    with host_cpu.pinned() as cpu:
        assert psutil.Process().cpu_affinity() == [cpu]
    assert psutil.Process().cpu_affinity() == before
