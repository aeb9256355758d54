"""The lowered form of ops: system calls as data.

Interpreters (the worker, a C emitter) know these calls and no ops.  Descriptors, run areas and
captured outputs have names, so that a later call can use what an earlier one returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

CANARY = 0xA5
# struct kvm_run from exit_reason to hardware_entry_failure_reason (abi/fields.py: KVM_RUN)
EXIT_SIZE = 32


@dataclass(frozen=True, slots=True)
class Immediate:
    """An integer argument."""

    value: int


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that the kernel reads."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Output:
    """A buffer of ``size`` bytes that the kernel writes.

    It begins with ``head``; the rest is CANARY, which shows what the kernel did not write.
    ``capture`` names the output for a later :class:`Captured`.
    """

    size: int
    head: bytes = b""
    capture: str = ""


@dataclass(frozen=True, slots=True)
class OutputAtPageEnd:
    """As :class:`Output`, right before memory that cannot be written."""

    size: int
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class OutputBehind:
    """A structure with a pointer to where the kernel writes: ``size`` bytes right after it.

    ``pointer_offset`` is the pointer's offset in ``head``; the output is both parts.  ``content``
    is there before the call, for a kernel that reads it.
    """

    head: bytes
    pointer_offset: int
    size: int
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class LiteralAtPageEnd:
    """As :class:`Literal`, right before memory that cannot be read."""

    content: bytes


@dataclass(frozen=True, slots=True)
class SleepingLiteral:
    """As :class:`Literal`, on a page that is not present: the kernel sleeps when it reads it.

    The calling thread is scheduled out within the call, and its own registers are saved
    (TIF_NEED_FPU_LOAD).  A second thread provides the page, through userfaultfd(2).
    """

    content: bytes


@dataclass(frozen=True, slots=True)
class Captured:
    """The output that an earlier call captured, changed by ``patches``: (offset, bytes)."""

    name: str
    patches: tuple[tuple[int, bytes], ...] = ()


Argument = (
    Immediate
    | Literal
    | Output
    | OutputAtPageEnd
    | OutputBehind
    | LiteralAtPageEnd
    | SleepingLiteral
    | Captured
)


class Relation(StrEnum):
    """How a task that makes calls for the scenario is related to the scenario's own process.

    All but THREAD are thread groups of their own.  SHARED_MM shares the memory, so it may use the
    VM.  EXEC is forked and executes a new image, which has no descriptors and can only call
    arch_prctl and sigaltstack.
    """

    THREAD = "thread"
    FORK = "fork"
    SHARED_MM = "shared-mm"
    EXEC = "exec"


MAIN = ""
# The usual names of descriptors.
KVM, VM, VCPU = "kvm", "vm", "vcpu0"


@dataclass(frozen=True, slots=True)
class Spawn:
    """Create a task, which lives until the scenario ends."""

    binds: str
    relation: Relation

    def __post_init__(self) -> None:
        """Accept the relation's text."""
        object.__setattr__(self, "relation", Relation(self.relation))


@dataclass(frozen=True, slots=True)
class OpenKvm:
    """Open /dev/kvm as descriptor ``binds``."""

    binds: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close a descriptor; a vCPU's run area is unmapped as well."""

    on: str


@dataclass(frozen=True, slots=True)
class Ioctl:
    """``ioctl(on, number, argument)``; a descriptor it returns is bound to ``binds``."""

    number: int
    on: str
    argument: Argument
    binds: str = ""
    by: str = MAIN


@dataclass(frozen=True, slots=True)
class ArchPrctl:
    """``arch_prctl(code, argument)``: an integer, or a buffer for a bitmap."""

    code: int
    argument: Argument
    by: str = MAIN


@dataclass(frozen=True, slots=True)
class SetAltStack:
    """``sigaltstack`` with a stack of ``size`` bytes."""

    size: int
    by: str = MAIN


@dataclass(frozen=True, slots=True)
class LimitDescriptors:
    """Prevent the process from opening more descriptors (RLIMIT_NOFILE)."""


@dataclass(frozen=True, slots=True)
class GoOnInChild:
    """Fork; the child makes all further calls, and the parent waits and ends as the child does."""


@dataclass(frozen=True, slots=True)
class MapMemory:
    """Give VM ``on`` memory with ``content`` at a guest-physical address (bytes), in a slot."""

    on: str
    slot: int
    guest_address: int
    content: bytes


@dataclass(frozen=True, slots=True)
class MapPayload:
    """Give VM ``on`` the guest payload in new memory, called ``binds``, and its reset vector."""

    on: str
    binds: str


@dataclass(frozen=True, slots=True)
class SharePayload:
    """Give VM ``on`` the payload's memory that another VM has, as it is now."""

    on: str
    memory: str


@dataclass(frozen=True, slots=True)
class RunVcpu:
    """KVM_RUN on vCPU ``on`` with this ``immediate_exit``.

    Its output is the run area from ``exit_reason`` on: ``size`` bytes.  ``patches``, as (offset,
    bytes), are stored in the run area before the call; ``kvm_valid_regs`` and ``kvm_dirty_regs``
    are 0 after it.  It loads the guest's fpstate into the host's registers.
    """

    on: str
    immediate_exit: int
    patches: tuple[tuple[int, bytes], ...] = ()
    size: int = EXIT_SIZE
    by: str = MAIN


@dataclass(frozen=True, slots=True)
class RunGuest:
    """Give the guest payload in ``memory`` one command, and KVM_RUN until it has executed it.

    It returns 0, -errno of KVM_RUN, or the exit reason if the exit was not the payload's.  The
    output is the payload's result block and ``data_size`` bytes of its data area.  It loads the
    guest's fpstate into the host's registers.
    """

    on: str
    memory: str
    command: bytes
    data_size: int


class Kick(StrEnum):
    """How KVM_RUN of another thread ends: by a signal, with kvm_run.immediate_exit set or not."""

    BY_SIGNAL = "signal"
    WITH_IMMEDIATE_EXIT = "immediate-exit"


@dataclass(frozen=True, slots=True)
class DuringRun:
    """An ioctl on a vCPU while another thread runs the guest payload in ``memory``, which spins.

    KVM_RUN ends as ``kick`` says, once the ioctl waits.  The result is the ioctl's, or one of
    ``abi.executor.RunFault``.
    """

    ioctl: Ioctl
    memory: str
    kick: Kick

    @property
    def on(self) -> str:
        """The vCPU."""
        return self.ioctl.on


Call = (
    OpenKvm
    | Close
    | Ioctl
    | ArchPrctl
    | SetAltStack
    | LimitDescriptors
    | Spawn
    | GoOnInChild
    | MapMemory
    | MapPayload
    | SharePayload
    | RunVcpu
    | RunGuest
    | DuringRun
)
