"""KVM_RUN: the guest-FPU load and save around it (arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run).

The guest here halts at once and touches no FPU state.  The load (XRSTORS) and the save (XSAVES)
happen even when ``immediate_exit`` keeps the guest from being entered.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KvmExit
from kvmprobe.model.entry import Entry, entry
from kvmprobe.model.fpstate import load_guest_fpu
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.init_signal import taken
from kvmprobe.model.outcome import Done, Failed, HostDies, OneOf, Step
from kvmprobe.model.rule import KernelFile, KernelSource, Rule

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
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
    return run_until(machine, vcpu_name, KvmExit.HLT, RUN_UNTIL_HALT)


def run_until(machine: Machine, vcpu_name: str, reason: KvmExit, rule: Rule) -> Step:
    """KVM_RUN of a guest whose first instruction, at the reset vector, exits to user space.

    :param reason: of that exit
    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run; arch/x86/kvm/vmx/vmx.c: __vmx_handle_exit
    """
    vcpu = taken(machine.vcpu(vcpu_name))
    fpstate = load_guest_fpu(machine.host, vcpu.fpstate)
    if isinstance(fpstate, HostDies):
        return Step(machine, fpstate, rule)
    entered = vcpu._replace(fpstate=fpstate, ran=True, entered=True, caller=machine.registers)
    after = machine.with_vcpu(vcpu_name, entered)
    return Step(after, _exit(machine.host, vcpu, reason), rule)


def _exit(host: HostProfile, vcpu: Vcpu, reason: KvmExit) -> Done | OneOf:
    succeeds, fails = (Done(fields={EXIT_FIELD: r}) for r in (reason, KvmExit.FAIL_ENTRY))
    match entry(host, vcpu):
        case Entry.SUCCEEDS:
            return succeeds
        case Entry.FAILS:
            return fails
        case Entry.BY_CPU:
            return OneOf((succeeds, fails), Freedom.PCIDE_AT_ENTRY)


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
    fpstate = load_guest_fpu(machine.host, vcpu.fpstate)
    if isinstance(fpstate, HostDies):
        return Step(machine, fpstate, RUN_IMMEDIATE_EXIT)
    saved = vcpu._replace(fpstate=fpstate, caller=machine.registers)
    after = machine.with_vcpu(vcpu_name, saved)
    return Step(after, Failed(errno.EINTR), RUN_IMMEDIATE_EXIT)
