"""Entering the guest."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.fields import KVM_RUN, RUN_AREA, RUN_AREA_SIZE, places
from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.numbers import KvmExit
from kvmprobe.model import run, synced_run, vcpu_state
from kvmprobe.model.state import State
from kvmprobe.model.synced_run import RunArea, Synced
from kvmprobe.scenarios.calls import MAIN, VCPU, Call, RunVcpu
from kvmprobe.scenarios.op_fields import U8, U32, U64, Caller, Name
from kvmprobe.scenarios.ops._base import FixedOp, op
from kvmprobe.scenarios.ops.lifecycle import OnVcpu
from kvmprobe.scenarios.requirement import Requirement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_PLACES = places(KVM_RUN[:1])
_FAILURE = KVM_RUN[1]


class _Entry(FixedOp):
    """A KVM_RUN that enters the guest."""

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
class RunUntilHalt(OnVcpu, _Entry):
    """Enter the guest, which halts at once."""

    vcpu: Name = VCPU
    by: Caller = MAIN

    def call(self) -> Call:
        return RunVcpu(self.vcpu, 0, by=self.by)

    def transition(self, machine: Machine) -> Step:
        return run.run_until_halt(machine, self.vcpu)


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
    """Enter the guest, which writes to a port at once; it takes a pending INIT first."""

    takes_init = True

    def call(self) -> Call:
        return RunVcpu(VCPU, 0)

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
class RunImmediateExit(OnVcpu, FixedOp):
    """Call KVM_RUN without entering the guest; KVM loads and saves the guest FPU even so."""

    in_vmx_operation = True

    vcpu: Name = VCPU
    by: Caller = MAIN

    def call(self) -> Call:
        return RunVcpu(self.vcpu, 1, by=self.by)

    def transition(self, machine: Machine) -> Step:
        return run.run_immediate_exit(machine, self.vcpu)


_HEAD, _REGISTERS = ioctls.KVM_RUN_HEAD, ioctls.KVM_SYNC_REGS
# The member of each part that the op changes, and its place in the run area.
_CHANGED = {
    Synced.REGS: ("rbx", "regs.rbx", "Q"),
    Synced.SREGS: ("cr4", "sregs.cr4", "Q"),
    Synced.EVENTS: ("flags", "events.flags", "I"),
}


@op(
    "run-synced",
    "KVM_RUN",
    synced_run.RUN_SYNCED,
    requires=(
        Requirement.OPEN,
        Requirement.HALT_CODE,
        Requirement.RUNNABLE,
        Requirement.NO_BREAKPOINT,
    ),
    on=Descriptor.VCPU,
    errnos=(errno.EINVAL, errno.EINTR),
    output=RUN_AREA,
)
class RunSynced(FixedOp):
    """Call KVM_RUN with these members of the run area; a dirty part gets this RBX, CR4 or flags."""

    valid: U64 = 0
    dirty: U64 = 0
    immediate_exit: U8 = 1
    cr8: U64 = 0
    rbx: U64 = 0
    cr4: U64 = 0
    flags: U32 = vcpu_state.RESET[State.EVENTS]["flags"]

    def _changes(self) -> Mapping[int, Mapping[str, int]]:
        return {
            part: {name: getattr(self, name)}
            for part, (name, _, _) in _CHANGED.items()
            if self.dirty & part
        }

    def call(self) -> Call:
        members = {"cr8": self.cr8, "kvm_valid_regs": self.valid, "kvm_dirty_regs": self.dirty}
        patches = [(_HEAD.offset(name), struct.pack("=Q", v)) for name, v in members.items()]
        for part, (name, path, code) in _CHANGED.items():
            if self.dirty & part:
                at = _HEAD.size + _REGISTERS.offset(path)
                patches.append((at, struct.pack(f"={code}", getattr(self, name))))
        return RunVcpu(VCPU, self.immediate_exit, tuple(patches), RUN_AREA_SIZE)

    def refused(self, machine: Machine) -> str:
        vcpu = machine.vcpu(VCPU)
        if not self.immediate_exit and vcpu.lapic:
            return Requirement.NO_LAPIC.value
        missing = synced_run.never_stored(vcpu, self.dirty)
        return f"kvm_dirty_regs={missing:#x}, which KVM has not stored there" if missing else ""

    def transition(self, machine: Machine) -> Step:
        given = RunArea(self.valid, self.dirty, self.immediate_exit, self.cr8, self._changes())
        return synced_run.run_synced(machine, VCPU, given)

    @property
    def text(self) -> str:
        shown = f"valid={self.valid:#x} dirty={self.dirty:#x} immediate_exit={self.immediate_exit}"
        changed = "".join(f" {n}={v:#x}" for c in self._changes().values() for n, v in c.items())
        cr8 = f" cr8={self.cr8:#x}" if self.cr8 else ""
        return f"{self.kernel_call}({shown}{cr8}{changed})"
