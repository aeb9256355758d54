"""Tasks, who make calls in the scenario's stead; alternate signal stacks; descriptor limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.model import process
from kvmprobe.scenarios.calls import (
    MAIN,
    Call,
    LimitDescriptors,
    Relation,
    SetAltStack,
    Spawn,
)
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import by_whom

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_SPAWN: Mapping[Relation, Callable[[Machine, str], Step]] = {
    Relation.THREAD: process.spawn_thread,
    Relation.FORK: process.fork,
    Relation.SHARED_MM: process.share_memory,
    Relation.EXEC: process.exec_image,
}


@op(
    "spawn-task",
    "clone(2)",
    "arch/x86/kernel/fpu/core.c: fpu_clone",
    "arch/x86/kernel/fpu/core.c: fpu_flush_thread",
)
@dataclass(frozen=True, slots=True)
class SpawnTask(Op):
    """Create a task, who has what the scenario's process has now, as far as its relation goes."""

    task: str
    relation: Relation

    def __post_init__(self) -> None:
        """Accept the relation's text."""
        object.__setattr__(self, "relation", Relation(self.relation))

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to clone(2), and execve(2) behind it for a new image."""
        return Spawn(self.task, self.relation)

    def step(self, machine: Machine) -> Step:
        """Copy, share or reset permission."""
        return _SPAWN[self.relation](machine, self.task)

    @property
    def text(self) -> str:
        """Name the task and the relation."""
        return f"{self.kernel_call} {self.task} ({self.relation})"


@op(
    "set-altstack",
    "sigaltstack(2)",
    "arch/x86/kernel/signal.c: sigaltstack_size_valid",
    errnos={"ENOMEM": "too small for a signal frame with what the process is permitted"},
)
@dataclass(frozen=True, slots=True)
class SetAltstack(Op):
    """Give the calling thread a fresh alternate signal stack of ``stack_size`` bytes."""

    stack_size: int
    by: str = MAIN

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to sigaltstack(2)."""
        return SetAltStack(self.stack_size, self.by)

    def step(self, machine: Machine) -> Step:
        """Compare it with the frame."""
        return process.set_altstack(machine, self.stack_size, self.by)

    @property
    def text(self) -> str:
        """Name the size and the caller."""
        return f"{self.kernel_call} of {self.stack_size} bytes{by_whom(self.by)}"


@op("limit-descriptors", "setrlimit(RLIMIT_NOFILE)", "fs/file.c: alloc_fd")
@dataclass(frozen=True, slots=True)
class LimitOwnDescriptors(Op):
    """Let the scenario's process open no more descriptors."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to setrlimit(2)."""
        return LimitDescriptors()

    def step(self, machine: Machine) -> Step:
        """Limit it."""
        return process.limit_descriptors(machine)
