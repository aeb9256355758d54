"""VM entry: which control registers the CPU refuses there, and when the guest payload executes."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.errors import NotModelled
from kvmprobe.model import cet
from kvmprobe.model.control import EFER_LMA, Cr0, Cr4

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu


class Entry(Enum):
    """What comes of an entry; ``BY_CPU``: ``Freedom.PCIDE_AT_ENTRY`` leaves it open."""

    SUCCEEDS = "the guest executes"
    FAILS = "KVM_EXIT_FAIL_ENTRY"
    BY_CPU = "one of the two"


def entry(host: HostProfile, vcpu: Vcpu) -> Entry:
    """Return what comes of a VM entry with the vCPU's control registers and IA32_S_CET.

    KVM_SET_SREGS accepts registers that the CPU refuses at VM entry.

    :see: SDM vol.3 §27.3.1.1 "Checks on Guest Control Registers, Debug Registers, and MSRs";
        arch/x86/kvm/vmx/vmx.c: __vmx_handle_exit
    """
    if vcpu.cr4 & Cr4.CET.bit and not vcpu.cr0 & Cr0.WP:
        return Entry.FAILS
    if not cet.loadable_at_entry(host, vcpu):
        return Entry.FAILS
    if vcpu.cr4 & Cr4.PCIDE.bit and not vcpu.efer & EFER_LMA:
        return Entry.BY_CPU
    return Entry.SUCCEEDS


def require_payload(host: HostProfile, vcpu: Vcpu) -> None:
    """Require that the vCPU executes the guest payload, or is at its reset vector.

    :raises NotModelled: some of its registers are those after reset, some the payload's
    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl, KVM_SET_REGS and KVM_SET_SREGS
    """
    if vcpu.in_payload != bool(vcpu.efer & EFER_LMA):
        raise NotModelled(
            "KVM_RUN of a vCPU with the guest payload's registers in part; restore what "
            "KVM_SET_REGS writes and what KVM_SET_SREGS writes from the same moment"
        )
    if entry(host, vcpu) is Entry.BY_CPU:
        raise NotModelled("the guest payload with CR4.PCIDE set outside long mode")
