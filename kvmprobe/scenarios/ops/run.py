"""Entering the guest."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi.fields import KVM_RUN, places
from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.numbers import KvmExit
from kvmprobe.model import run, vcpu_state
from kvmprobe.scenarios.calls import VCPU, Call, RunVcpu
from kvmprobe.scenarios.ops._base import FixedOp, op
from kvmprobe.scenarios.requirement import Requirement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_PLACES = places(KVM_RUN[:1])
_FAILURE = KVM_RUN[1]


class _Entry(FixedOp):
    """A KVM_RUN that enters the guest."""

    def call(self) -> Call:
        return RunVcpu(VCPU, 0)

    def read(self, output: bytes) -> Mapping[str, int]:
        """Return the exit reason, and with KVM_EXIT_FAIL_ENTRY the hardware's reason.

        Old recordings contain the exit reason only.
        """
        read = FixedOp.read(self, output)
        if read[run.EXIT_FIELD] != KvmExit.FAIL_ENTRY or len(output) < _FAILURE.offset + 8:
            return read
        reason = int.from_bytes(output[_FAILURE.offset : _FAILURE.offset + 8], "little")
        return {**read, _FAILURE.name: reason}


@op(
    "run-until-halt",
    "KVM_RUN",
    run.RUN_UNTIL_HALT,
    requires=(
        Requirement.OPEN,
        Requirement.HALT_CODE,
        Requirement.NO_LAPIC,
        Requirement.NO_BREAKPOINT,
    ),
    on=Descriptor.VCPU,
    output=_PLACES,
)
class RunUntilHalt(_Entry):
    """Enter the guest, which halts at once."""

    def transition(self, machine: Machine) -> Step:
        return run.run_until_halt(machine, VCPU)


@op(
    "run-until-out",
    "KVM_RUN",
    vcpu_state.RUN_UNTIL_PORT,
    requires=(
        Requirement.OPEN,
        Requirement.OUT_CODE,
        Requirement.RUNNABLE,
        Requirement.NO_BREAKPOINT,
    ),
    on=Descriptor.VCPU,
    output=_PLACES,
)
class RunUntilOut(_Entry):
    """Enter the guest, which writes to a port at once."""

    def transition(self, machine: Machine) -> Step:
        return vcpu_state.run_until_port(machine, VCPU)


@op(
    "run-immediate-exit",
    "KVM_RUN",
    run.RUN_IMMEDIATE_EXIT,
    requires=(Requirement.OPEN,),
    on=Descriptor.VCPU,
    errnos=(errno.EINTR,),
    operand="immediate_exit",
)
class RunImmediateExit(FixedOp):
    """Call KVM_RUN without entering the guest; KVM loads and saves the guest FPU even so."""

    def call(self) -> Call:
        return RunVcpu(VCPU, 1)

    def transition(self, machine: Machine) -> Step:
        return run.run_immediate_exit(machine, VCPU)
