"""Tasks and child processes that make the scenario's calls; signal stacks; descriptor limits."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.model import process
from kvmprobe.scenarios.calls import (
    MAIN,
    Call,
    GoOnInChild,
    LimitDescriptors,
    Relation,
    SetAltStack,
    Spawn,
)
from kvmprobe.scenarios.op_fields import Caller, Name, Size
from kvmprobe.scenarios.ops._base import FixedOp, op
from kvmprobe.scenarios.ops.lifecycle import by_whom
from kvmprobe.scenarios.requirement import Requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

# The part of a signal frame that is not its XSAVE area is smaller than this.
_BESIDE_FRAME = 1024
_SPAWN: Mapping[Relation, Callable[[Machine, str], Step]] = {
    Relation.THREAD: process.spawn_thread,
    Relation.FORK: process.fork,
    Relation.SHARED_MM: process.share_memory,
    Relation.EXEC: process.exec_image,
}


@op(
    "spawn-task",
    "clone",
    process.SPAWN_THREAD,
    process.FORK,
    process.SHARE_MEMORY,
    process.EXEC_IMAGE,
    requires=(Requirement.DESCRIPTORS_LEFT,),
    operand="2",
)
class SpawnTask(FixedOp):
    """Create a task; the relation says what it shares with the scenario's process."""

    task: Name
    relation: Relation

    def call(self) -> Call:
        return Spawn(self.task, self.relation)

    def transition(self, machine: Machine) -> Step:
        return _SPAWN[self.relation](machine, self.task)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} {self.task} ({self.relation})"


@op("go-on-in-child", "fork", process.GO_ON_IN_CHILD, operand="2")
class ContinueInChild(FixedOp):
    """Fork; the child makes all further calls.  It has none of its parent's VMs."""

    def call(self) -> Call:
        return GoOnInChild()

    def refused(self, machine: Machine) -> str:
        return "a task answers only the process that created it" if len(machine.tasks) > 1 else ""

    def transition(self, machine: Machine) -> Step:
        return process.go_on_in_child(machine)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}; the child goes on"


@op(
    "set-altstack",
    "sigaltstack",
    process.SET_ALTSTACK,
    errnos=(errno.ENOMEM,),
    operand="2",
)
class SetAltstack(FixedOp):
    """Give the calling thread a new alternate signal stack of ``stack_size`` bytes."""

    stack_size: Size
    by: Caller = MAIN

    def call(self) -> Call:
        return SetAltStack(self.stack_size, self.by)

    def refused(self, machine: Machine) -> str:
        host = machine.host
        least = process.frame_size(host, host.user_features)
        if least < self.stack_size <= least + _BESIDE_FRAME:
            return f"whether {self.stack_size} bytes hold a signal frame depends on the kernel"
        return ""

    def transition(self, machine: Machine) -> Step:
        return process.set_altstack(machine, self.stack_size, self.by)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} of {self.stack_size} bytes{by_whom(self.by)}"


@op(
    "limit-descriptors",
    "setrlimit",
    process.LIMIT_DESCRIPTORS,
    requires=(Requirement.DESCRIPTORS_LEFT,),
    operand="RLIMIT_NOFILE",
)
class LimitOwnDescriptors(FixedOp):
    """Prevent the scenario's process from opening more descriptors."""

    def call(self) -> Call:
        return LimitDescriptors()

    def transition(self, machine: Machine) -> Step:
        return process.limit_descriptors(machine)
