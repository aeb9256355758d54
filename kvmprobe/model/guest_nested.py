"""A nested guest, L2: how the payload in L1 enters it, and how it comes back.

L1 and L2 share the FPU registers, XCR0, IA32_XFD and PKRU: the VMCS has no field for them, and KVM
switches none of them.  L2 executes the payload with L1's control registers and descriptors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.payload import VMCS, VMXON, Registers
from kvmprobe.model.control import Cr0, Cr4
from kvmprobe.model.feature import VMX, has_feature
from kvmprobe.model.guest import ExitReason, Vector
from kvmprobe.model.machine import U64_MAX
from kvmprobe.model.rule import KernelFile, KernelSource, ManualSource, Rule
from kvmprobe.model.unsupported_msr import is_ignored

if TYPE_CHECKING:
    from kvmprobe.model.guest import Guest
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu

# SDM vol.3 appendix A.7 "VMX-Fixed Bits in CR0"
_CR0_FIXED = Cr0.PE | Cr0.NE | Cr0.PG
# include/uapi/linux/kvm_para.h: -KVM_ENOSYS
_NO_SUCH_HYPERCALL = (1 << 64) - 1000


ENTER_L2 = Rule(
    "a VM entry of L1 gives the nested guest XCR0, IA32_XFD, PKRU and FPU registers as they are",
    (),
    (
        KernelSource(KernelFile.KVM_VMX_NESTED, "prepare_vmcs02"),
        ManualSource(3, "27.3.2", "Loading Guest State"),
    ),
)


def enter_l2(guest: Guest) -> Guest:
    """VMXON unless L1 is in VMX operation, a new VMCS, VMLAUNCH; RAX: exceptions that exit.

    Before them IA32_VMX_BASIC is read, which is #GP without VMX.

    :see: arch/x86/kvm/vmx/nested.c: handle_vmxon, nested_vmx_run;
        arch/x86/kvm/vmx/vmx.c: vmx_get_msr
    """
    vcpu = guest.vcpu
    guest.require((has_feature(guest.host, vcpu, VMX), Vector.GP))
    entered = vcpu._replace(
        cr4=vcpu.cr4 | Cr4.VMXE.bit,
        vmxon=VMXON,
        vmcs12=VMCS,
        in_l2=True,
        l2_exceptions=guest.registers.rax,
    )
    return guest.with_vcpu(entered)._replace(registers=Registers())


def not_enterable(host: HostProfile, vcpu: Vcpu) -> str:
    """Return why the model does not know whether L1 can enter a nested guest; empty if it does.

    :see: arch/x86/kvm/vmx/nested.c: handle_vmxon
    """
    if not has_feature(host, vcpu, VMX):
        ignored = is_ignored(host)
        return "the model does not know VMX where KVM ignores unknown MSRs" if ignored else ""
    if vcpu.in_payload and vcpu.cr0 & _CR0_FIXED != _CR0_FIXED:
        return "needs CR0.PE, CR0.NE and CR0.PG"
    if vcpu.in_payload and bool(vcpu.cr4 & Cr4.VMXE.bit) != (vcpu.vmxon != U64_MAX):
        return "needs CR4.VMXE in VMX operation, and nowhere else"
    if vcpu.cr4 & Cr4.CET.bit:
        return "the model does not know CET state in a nested guest"
    return ""


VMCALL = Rule(
    "VMCALL of a nested guest exits to L1, which has the guest's XCR0, IA32_XFD and FPU registers",
    (),
    (
        KernelSource(KernelFile.KVM_VMX_NESTED, "nested_vmx_l1_wants_exit"),
        KernelSource(KernelFile.KVM_VMX_NESTED, "__nested_vmx_vmexit"),
        ManualSource(3, "26.1.2", "Instructions That Cause VM Exits Unconditionally"),
        ManualSource(3, "28.5", "Loading Host State"),
    ),
)


def vmcall(guest: Guest) -> Guest:
    """VMCALL of a nested guest; that of another one is a hypercall, of which KVM has no number 0.

    :see: arch/x86/kvm/vmx/nested.c: nested_vmx_l1_wants_exit, __nested_vmx_vmexit;
        arch/x86/kvm/x86.c: kvm_emulate_hypercall
    """
    guest.exit_from_l2(ExitReason.VMCALL)
    return guest._replace(registers=guest.registers._replace(rax=_NO_SUCH_HYPERCALL))
