"""IA32_XFD, IA32_XFD_ERR, IA32_XSS and the MSRs of CET as a guest reads and writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr, msr_name
from kvmprobe.errors import NotModelled
from kvmprobe.model import cet
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.guest import Vector
from kvmprobe.model.msr import with_xfd, xfd_by_kvm
from kvmprobe.model.rule import KernelFile, KernelSource, ManualSource, Rule
from kvmprobe.model.unsupported_msr import is_ignored
from kvmprobe.xstate.cpuid import LEAF_XSTATE, XFD_BIT, XSAVES_BIT, Register
from kvmprobe.xstate.features import DYNAMIC

if TYPE_CHECKING:
    from kvmprobe.model.guest import Guest
    from kvmprobe.model.machine import Vcpu


RDMSR = Rule(
    "RDMSR is #GP unless the guest's CPUID has the MSR",
    ("INV-25", "INV-39"),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_get_msr_common"),
        KernelSource(KernelFile.KVM_VMX, "vmx_set_msr"),
        ManualSource(2, "RDMSR"),
    ),
)


def rdmsr(guest: Guest) -> Guest:
    """RDMSR: #GP for an MSR that CPUID lacks, except XFD once its interception is off.

    In a nested guest it is on, as for all of these.

    :see: arch/x86/kvm/x86.c: kvm_get_msr_common; arch/x86/kvm/vmx/vmx.c: vmx_set_msr
    """
    vcpu = guest.vcpu
    match guest.ecx:
        case Msr.IA32_XFD:
            guest.require((_passes_xfd(vcpu) or _has(guest, XFD_BIT), Vector.GP))
            return guest.with_eax_edx(vcpu.xfd)
        case Msr.IA32_XFD_ERR:
            guest.require((_has(guest, XFD_BIT), Vector.GP))
            left = 0 if vcpu.in_l2 else vcpu.xfd_err_left
            return guest.with_eax_edx(vcpu.xfd_err or left)
        case Msr.IA32_XSS:
            guest.require((_has(guest, XSAVES_BIT), Vector.GP))
            return guest.with_eax_edx(vcpu.xss)
        case index if cet.exists(guest.host, vcpu, index):
            return guest.with_eax_edx(vcpu.msrs.get(index, 0))
        case _:
            guest.require((is_ignored(guest.host), Vector.GP))
            return guest.with_eax_edx(0)


WRMSR = Rule(
    "WRMSR is #GP for what the guest's CPUID does not have",
    ("INV-25",),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_set_msr_common"),
        KernelSource(KernelFile.KVM_VMX, "vmx_set_msr"),
        ManualSource(2, "WRMSR"),
    ),
)


def wrmsr(guest: Guest) -> Guest:
    """WRMSR: KVM checks the value, but for XFD once its interception is off; then the CPU does.

    The first write of XFD that is not zero turns its interception off.

    :see: arch/x86/kvm/x86.c: kvm_set_msr_common; arch/x86/kvm/vmx/vmx.c: vmx_set_msr
    """
    vcpu, value = guest.vcpu, guest.edx_eax
    dynamic = not value & ~(vcpu.guest_xcr0 & DYNAMIC) and _has(guest, XFD_BIT)
    match guest.ecx:
        case Msr.IA32_XFD if _passes_xfd(vcpu):
            guest.require((not value & ~(guest.host.user_features & DYNAMIC), Vector.GP))
            return guest.with_vcpu(with_xfd(vcpu, value))
        case Msr.IA32_XFD:
            guest.require((dynamic, Vector.GP))
            return guest.with_vcpu(xfd_by_kvm(guest.host, vcpu, value))
        case Msr.IA32_XFD_ERR:
            guest.require((dynamic, Vector.GP))
            return guest.with_vcpu(guest.vcpu._replace(xfd_err=value))
        case Msr.IA32_XSS:
            return _with_xss(guest)
        case index if cet.exists(guest.host, vcpu, index):
            return _with_cet(guest, index)
        case _:
            guest.require((is_ignored(guest.host), Vector.GP))
            return guest


def _passes_xfd(vcpu: Vcpu) -> bool:
    # arch/x86/kvm/vmx/nested.c: nested_vmx_prepare_msr_bitmap
    return vcpu.xfd_passthrough and not vcpu.in_l2


def _with_xss(guest: Guest) -> Guest:
    vcpu, value = guest.vcpu, guest.edx_eax
    if _has(guest, XSAVES_BIT):
        guest.require((not value & ~vcpu.guest_xss, Vector.GP))
        return guest.with_vcpu(vcpu._replace(xss=value))
    # KERNEL: earlier ones refuse it by themselves, whatever ignore_msrs says.
    follows = Behaviour.XSS_FOLLOWS_CPUID in guest.host.behaviours
    guest.require((follows and is_ignored(guest.host), Vector.GP))
    return guest


def _with_cet(guest: Guest, index: int) -> Guest:
    """Write an MSR that is not intercepted: the CPU checks the value, by its own features."""
    host, vcpu, value = guest.host, guest.vcpu, guest.edx_eax
    guest.require((cet.legal_on_cpu(host, index, value), Vector.GP))
    if not cet.legal(host, vcpu, index, value):
        raise NotModelled(
            f"WRMSR {msr_name(index)}={value:#x} in the guest: the CPU has the feature, "
            "the guest's CPUID has not"
        )
    return guest.with_vcpu(guest.vcpu._replace(msrs={**vcpu.msrs, index: value}))


def _has(guest: Guest, bit: int) -> bool:
    return guest.cpuid.has(LEAF_XSTATE, 1, Register.EAX, bit)
