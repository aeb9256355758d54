"""XSTATE of a real /dev/kvm through the bindings."""

from __future__ import annotations

import struct

import pytest

from kvmprobe.abi.numbers import ArchPrctlCode, KvmCap, Msr
from kvmprobe.bindings.exits import HltExit
from kvmprobe.bindings.gateway import get_xcomp
from kvmprobe.bindings.vcpu import RunMode
from kvmprobe.errors import KernelCallError
from kvmprobe.execution import guest_trial
from kvmprobe.xstate.cpuid import CpuidTable
from tests.support.hosts import mxcsr, xstate_bv


def test_kvm_has_xsave(kvm):
    # contract section 2: KVM_CAP_XSAVE is 1 always.
    assert kvm.check_extension(KvmCap.XSAVE) == 1


def test_the_size_of_the_image_follows_from_supported_cpuid(kvm):
    # INV-8: max(4096, 0xD.0:ECX)
    table = CpuidTable.from_bytes(kvm.supported_cpuid())
    assert kvm.check_extension(KvmCap.XSAVE2) == max(4096, table.xstate_size)


def test_vm_and_device_report_the_same_size(kvm, vm):
    # INV-8
    assert vm.check_extension(KvmCap.XSAVE2) == kvm.check_extension(KvmCap.XSAVE2)


def test_supported_cpuid_is_within_what_kvm_can_give(kvm):
    # INV-9
    assert not CpuidTable.from_bytes(kvm.supported_cpuid()).xcr0 & ~kvm.xcomp_guest_supp()


def test_xfd_is_in_the_index_list_only_of_a_cpu_with_xfd(kvm, examined):
    # INV-27, one direction: kvm_pvm lists it nowhere.
    assert Msr.IA32_XFD not in kvm.msr_indices() or examined.facts["cpu"]["xfd"]


def test_no_bitmap_has_the_lock_or_a_supervisor_bit():
    # INV-7: bits 8, 10, 11, 12, 15 and 63
    codes = [code for code in ArchPrctlCode if code.name.startswith("GET")]
    assert not any(get_xcomp(code) & (1 << 63 | 0x9D00) for code in codes)


def test_a_fresh_vcpu_exports_nothing(vcpu):
    # INV-15
    assert xstate_bv(vcpu.get_xsave2()) == 0


def test_a_fresh_vcpu_has_fcw_37f(vcpu):
    # INV-15
    assert struct.unpack_from("<H", vcpu.get_xsave2())[0] == 0x37F


def test_a_fresh_vcpu_has_mxcsr_1f80(vcpu):
    # INV-15
    assert mxcsr(vcpu.get_xsave2()) == 0x1F80


def test_both_ways_to_read_the_image_agree(vcpu):
    # KVM_GET_XSAVE moves the same bytes while the image is 4096.
    assert vcpu.get_xsave() == vcpu.get_xsave2()


def test_the_software_word_is_xcomp_supp(vcpu):
    # INV-16
    word = struct.unpack_from("<Q", vcpu.get_xsave(), 464)[0]
    assert word == get_xcomp(ArchPrctlCode.GET_XCOMP_SUPP)


def test_an_image_that_was_read_can_be_set(vcpu):
    image = vcpu.get_xsave()
    vcpu.set_xsave(image)
    assert vcpu.get_xsave() == image


def test_an_image_with_xcomp_bv_is_refused(vcpu):
    # contract 7.3, step 6
    image = bytearray(vcpu.get_xsave())
    image[520] = 1
    with pytest.raises(KernelCallError, match=r"KVM_SET_XSAVE on vCPU: EINVAL \(22\)"):
        vcpu.set_xsave(bytes(image))


def test_xcr0_starts_as_1(vcpu):
    # INV-15
    assert vcpu.get_xcr0() == 1


@pytest.mark.parametrize("value", [0x1, 0x3, 0x7])
def test_xcr0_reads_back_as_it_was_set(kvm, vcpu, value):
    vcpu.set_cpuid2(kvm.supported_cpuid())
    vcpu.set_xcr0(value)
    assert vcpu.get_xcr0() == value


@pytest.mark.parametrize("value", [0x0, 0x2, 0x5, 0x20001, 0x40001, 0x80001])
def test_an_illegal_xcr0_is_einval(kvm, vcpu, value):
    # contract section 6
    vcpu.set_cpuid2(kvm.supported_cpuid())
    with pytest.raises(KernelCallError, match=r"KVM_SET_XCRS on vCPU: EINVAL \(22\)"):
        vcpu.set_xcr0(value)


def test_a_refused_xcr0_changes_nothing(kvm, vcpu):
    # INV-19
    vcpu.set_cpuid2(kvm.supported_cpuid())
    vcpu.set_xcr0(0x3)
    with pytest.raises(KernelCallError):
        vcpu.set_xcr0(0x5)
    assert vcpu.get_xcr0() == 0x3


def test_xfd_zero_is_always_processed(vcpu):
    # contract 5.1
    assert vcpu.set_msrs({Msr.IA32_XFD: 0}) == 1


def test_an_msr_that_is_refused_is_counted_not_raised(vcpu):
    # contract section 5: a short count, the ioctl itself succeeds; bit 0 is never legal.
    assert vcpu.set_msrs({Msr.IA32_XFD: 0, Msr.IA32_XFD_ERR: 1}) == 1


def test_immediate_exit_is_eintr(vcpu):
    # INV-36
    with pytest.raises(KernelCallError, match=r"KVM_RUN on vCPU: EINTR \(4\)"):
        vcpu.run(RunMode.IMMEDIATE_EXIT)


def test_a_guest_that_halts_exits_with_hlt(vm, vcpu):
    vm.map_memory(0, 0xFFFF_F000, bytes(0xFF0) + b"\xf4")
    assert vcpu.run() == HltExit()


def test_real_mode_guest_code_runs(kvm):
    assert guest_trial.real_mode(kvm) == "runs"


def test_the_long_mode_trial_runs_or_returns_how_it_ended(kvm):
    # kvm_pvm cannot run it: KVM_EXIT_INTERNAL_ERROR.
    result = guest_trial.long_mode(kvm)
    assert result == "runs" or result.startswith(("KVM_EXIT_", "KVM_"))
