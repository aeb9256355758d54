"""INIT of a vCPU: what it sets back to the state after reset, and what it keeps.

Shaped like arch/x86/kvm/lapic.c: kvm_apic_accept_events; arch/x86/kvm/x86.c: kvm_vcpu_reset with
``init_event``.  The local APIC latches an INIT; the vCPU takes it in the next KVM_GET_MP_STATE or
KVM_RUN.  Leaves out vCPUs that block it: in SMM, in VMX operation, with GIF clear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model.control import Cr0
from kvmprobe.model.outcome import Done, Step
from kvmprobe.model.rule import KernelFile, KernelSource, ManualSource, Rule
from kvmprobe.model.state import State
from kvmprobe.xstate.cpuid import LEAF_FEATURES
from kvmprobe.xstate.features import MPX, has

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu

_KEPT_MSRS = frozenset({Msr.IA32_PAT})
# The content of CET_USER and of CET_KERNEL: SDM vol.1 §13.5.9 "CET State".
_CLEARED_MSRS = frozenset(
    {
        Msr.IA32_U_CET,
        Msr.IA32_PL3_SSP,
        Msr.IA32_PL0_SSP,
        Msr.IA32_PL1_SSP,
        Msr.IA32_PL2_SSP,
    }
)

LATCH_INIT = Rule(
    "KVM_SET_VCPU_EVENTS with smi.latched_init makes an INIT pending",
    (),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_vcpu_ioctl_x86_set_vcpu_events"),
        KernelSource(KernelFile.KVM_LAPIC, "kvm_apic_accept_events"),
    ),
)


def cannot_latch(vcpu: Vcpu) -> str:
    """Return why the model does not know what an INIT does to a vCPU; empty if it does.

    :see: arch/x86/kvm/lapic.c: kvm_apic_accept_events
    """
    if not vcpu.lapic:
        return "needs a vCPU with a local APIC in the kernel, which latches the INIT"
    if vcpu.state.get(State.MP_STATE, {}).get("mp_state"):
        return "needs a vCPU whose MP state is RUNNABLE"
    if set(vcpu.msrs) - _KEPT_MSRS - _CLEARED_MSRS:
        return "the model does not know which of the MSRs that were written an INIT clears"
    return ""


def cannot_take(host: HostProfile, vcpu: Vcpu) -> str:
    """Return why KVM_GET_MP_STATE cannot take a pending INIT; empty if it can.

    An OUT of the guest is complete only after the next KVM_RUN, which advances RIP if it is still
    the one of the OUT: at the reset vector it is, even after the INIT.

    :see: arch/x86/kvm/x86.c: complete_fast_pio_out, kvm_arch_vcpu_ioctl_get_mpstate; commit
        8819a49f9028 ("KVM: x86: Unload "FPU" state on INIT if and only if its currently in-use")
    """
    if not vcpu.init_pending:
        return ""
    if vcpu.entered:
        return "KVM_RUN must complete an OUT before the vCPU takes its INIT"
    if host.kvm_xcr0 & MPX:
        return "where KVM offers MPX, some kernels load and save the guest's FPU state for an INIT"
    return ""


def latch_init(machine: Machine, vcpu_name: str) -> Step:
    """KVM_SET_VCPU_EVENTS with nothing but a latched INIT.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_set_vcpu_events
    """
    vcpu = machine.vcpu(vcpu_name)._replace(init_pending=True)
    return Step(machine.with_vcpu(vcpu_name, vcpu), Done(), LATCH_INIT)


TAKE_INIT = Rule(
    "INIT resets registers and keeps XCR0, IA32_XSS, IA32_XFD and all XSTATE but MPX and CET",
    ("INV-36",),
    (
        ManualSource(3, "11.1.1", "Processor State After Reset"),
        KernelSource(KernelFile.KVM_X86, "kvm_vcpu_reset"),
        KernelSource(KernelFile.KVM_LAPIC, "kvm_apic_accept_events"),
    ),
)


def taken(vcpu: Vcpu) -> Vcpu:
    """Return a vCPU after it has taken a pending INIT; one without is returned as it is.

    Of XSTATE it clears MPX and CET.

    :see: SDM vol.3 table 11-1 "IA-32 and Intel 64 Processor States Following Power-up, Reset, or
        INIT"; arch/x86/kvm/x86.c: kvm_vcpu_reset, kvm_xstate_reset
    """
    if not vcpu.init_pending:
        return vcpu
    held = vcpu.fpstate.contents
    fpstate = vcpu.fpstate._replace(
        xstate_bv=vcpu.fpstate.xstate_bv & ~MPX,
        contents={nr: content for nr, content in held.items() if not has(MPX, nr)},
    )
    features = vcpu.cpuid.table.find(LEAF_FEATURES, 0) if vcpu.cpuid else None
    return vcpu._replace(
        fpstate=fpstate,
        cr0=Cr0.ET | vcpu.cr0 & (Cr0.NW | Cr0.CD),
        cr4=0,
        efer=0,
        in_payload=False,
        entered=False,
        init_pending=False,
        sipi_pending=False,
        msrs={index: value for index, value in vcpu.msrs.items() if index in _KEPT_MSRS},
        state={State.REGS: {"rdx": features.eax}} if features else {},
    )
