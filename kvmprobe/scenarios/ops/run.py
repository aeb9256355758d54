"""Entering the guest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.model import run
from kvmprobe.scenarios.calls import Call, RunVcpu
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import VCPU

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step


@op(
    "run-until-halt",
    "KVM_RUN",
    "Documentation/virt/kvm/api.rst: KVM_RUN",
    "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run",
)
@dataclass(frozen=True, slots=True)
class RunUntilHalt(Op):
    """Enter the guest, which halts at once."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {run.EXIT_FIELD: (0, "I")}

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a real entry."""
        return RunVcpu(VCPU, 0)

    def step(self, machine: Machine) -> Step:
        """Load and save the guest FPU."""
        return run.run_until_halt(machine, VCPU)


@op(
    "run-immediate-exit",
    "KVM_RUN(immediate_exit)",
    "Documentation/virt/kvm/api.rst: KVM_RUN, immediate_exit",
    "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run",
    errnos={"EINTR": "always: immediate_exit is set"},
)
@dataclass(frozen=True, slots=True)
class RunImmediateExit(Op):
    """Call KVM_RUN without entering the guest; the guest FPU is loaded and saved all the same."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a KVM_RUN that returns at once."""
        return RunVcpu(VCPU, 1)

    def step(self, machine: Machine) -> Step:
        """Load and save the guest FPU."""
        return run.run_immediate_exit(machine, VCPU)
