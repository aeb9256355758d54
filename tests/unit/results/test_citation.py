import re

import pytest

from kvmprobe.results.citation import files_in, with_paths, without_numbers

RULE = (
    "XFD[i]=1 clears XSTATE_BV[i] (INV-25, INV-29): core.c: fpu_update_guest_xfd; read by "
    "KVM_GET_XSAVE2 (INV-14 to INV-17, INV-20 to INV-22): xstate.c: __copy_xstate_to_uabi_buf"
)


def test_numbers_of_our_own_are_left_out():
    assert without_numbers(RULE) == (
        "XFD[i]=1 clears XSTATE_BV[i]: core.c: fpu_update_guest_xfd; read by KVM_GET_XSAVE2: "
        "xstate.c: __copy_xstate_to_uabi_buf"
    )
    assert not re.search("INV|contract", without_numbers("both agree (contract 7.4): x86.c: f"))
    assert without_numbers("leaf 0xD (O4, a quirk): cpuid.c: f") == "leaf 0xD (a quirk): cpuid.c: f"


# Where each function is in Linux 7.0.
@pytest.mark.parametrize(
    ("named", "path"),
    [
        ("core.c: fpu_update_guest_xfd", "arch/x86/kernel/fpu/core.c"),
        ("xstate.c: __xstate_request_perm", "arch/x86/kernel/fpu/xstate.c"),
        ("x86.c: __kvm_set_xcr", "arch/x86/kvm/x86.c"),
        ("cpuid.c: kvm_check_cpuid", "arch/x86/kvm/cpuid.c"),
        ("vmx.c: vmx_set_msr", "arch/x86/kvm/vmx/vmx.c"),
        ("kvm_main.c: kvm_vm_ioctl", "virt/kvm/kvm_main.c"),
        ("signal.c: sigaltstack_size_valid", "arch/x86/kernel/signal.c"),
        ("signal.c: do_sigaltstack", "kernel/signal.c"),
        ("fork.c: copy_process", "kernel/fork.c"),
    ],
)
def test_a_file_is_named_by_its_path(named, path):
    assert with_paths(f"a rule: {named}") == f"a rule: {path}: {named.partition(': ')[2]}"
    assert files_in(f"a rule: {named}") == (path,)


def test_a_path_stays_as_it_is():
    text = "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl"
    assert with_paths(text) == text


def test_files_are_in_the_order_of_the_rule():
    assert files_in(RULE) == ("arch/x86/kernel/fpu/core.c", "arch/x86/kernel/fpu/xstate.c")


def test_a_rule_without_a_file_names_none():
    assert files_in("memory slots do not overlap") == ()
