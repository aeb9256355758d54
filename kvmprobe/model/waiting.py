"""An ioctl on a vCPU that another thread runs: it waits until KVM_RUN ends, and comes after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.executor import HostRegisters
from kvmprobe.abi.numbers import KvmExit
from kvmprobe.abi.payload import Registers
from kvmprobe.errors import NotModelled
from kvmprobe.model.guest import execute
from kvmprobe.model.guest_control import nothing
from kvmprobe.model.outcome import Done, HostDies, NotCovered, Step
from kvmprobe.model.rule import DocumentSource, KernelFile, KernelSource, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.model.machine import Machine


WAITS = Rule(
    "an ioctl on a vCPU waits for KVM_RUN of another thread, which a signal ends with EINTR",
    ("INV-36",),
    (
        KernelSource(KernelFile.KVM_MAIN, "kvm_vcpu_ioctl"),
        KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl_run"),
        DocumentSource("Documentation/virt/kvm/api.rst", "5. The kvm_run structure"),
    ),
)


def during_run(machine: Machine, vcpu_name: str, made: Callable[[Machine], Step]) -> Step:
    """KVM_RUN of a guest that spins, until a signal; then the ioctl that waited.

    The thread that calls KVM_RUN has no registers of its own.

    :param made: the step of the ioctl
    :see: virt/kvm/kvm_main.c: kvm_vcpu_ioctl, which holds the vCPU's mutex
    """
    by_another = machine._replace(registers=HostRegisters.AS_THEY_ARE)
    ran = execute(by_another, vcpu_name, Registers(), nothing, WAITS)
    if isinstance(ran.outcome, HostDies | NotCovered):
        return ran
    if isinstance(ran.outcome, Done) and ran.outcome.value == KvmExit.FAIL_ENTRY:
        raise NotModelled("a call that waits for a guest that cannot be entered")
    return made(ran.machine._replace(registers=machine.registers))
