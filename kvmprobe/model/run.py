"""KVM_RUN: the guest-FPU load and save around it (arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run).

The guest here halts at once and touches no FPU state.  The load (XRSTORS) and the save (XSAVES)
happen even when ``immediate_exit`` keeps the guest from being entered.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KvmExit
from kvmprobe.model.fpstate import cycle_fpu
from kvmprobe.model.outcome import Done, Failed, HostDies, Step
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine, Vcpu

EXIT_FIELD = "exit_reason"


RUN_UNTIL_HALT = Rule(
    "KVM_RUN until HLT loads and saves the guest FPU",
    ("INV-36",),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl_run"),
        KernelSource(KernelFile.KVM_X86, "kvm_emulate_halt"),
    ),
)


def run_until_halt(machine: Machine, vcpu_name: str) -> Step:
    """KVM_RUN of a guest whose first instruction is HLT; there is no in-kernel irqchip.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run, kvm_emulate_halt
    """
    vcpu = machine.vcpu(vcpu_name)
    if vcpu.next_load_faults:
        return Step(machine, _host_dies(vcpu), RUN_UNTIL_HALT)
    vcpu = cycle_fpu(machine.host, vcpu).but(ran=True)
    return Step(
        machine.with_vcpu(vcpu_name, vcpu), Done(fields={EXIT_FIELD: KvmExit.HLT}), RUN_UNTIL_HALT
    )


RUN_IMMEDIATE_EXIT = Rule(
    "KVM_RUN with immediate_exit loads and saves the guest FPU",
    ("INV-36",),
    (KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl_run"),),
)


def run_immediate_exit(machine: Machine, vcpu_name: str) -> Step:
    """KVM_RUN with ``immediate_exit``: EINTR, after a full load and save of the guest FPU.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run
    """
    vcpu = machine.vcpu(vcpu_name)
    if vcpu.next_load_faults:
        return Step(machine, _host_dies(vcpu), RUN_IMMEDIATE_EXIT)
    vcpu = cycle_fpu(machine.host, vcpu)
    return Step(machine.with_vcpu(vcpu_name, vcpu), Failed(errno.EINTR), RUN_IMMEDIATE_EXIT)


def _host_dies(vcpu: Vcpu) -> HostDies:
    return HostDies(
        f"XRSTORS raises #NM in the host: XSTATE_BV & XFD = {names(vcpu.next_load_faults)}"
    )
