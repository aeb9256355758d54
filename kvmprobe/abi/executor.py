"""Numbers that the driver and the executor (``kvmprobe/native``) share.  Layer: abi, pure."""

from __future__ import annotations

from enum import IntEnum


class CallKind(IntEnum):
    """What the executor does for a call."""

    OPEN = 0  # open the device
    CLOSE = 1
    IOCTL = 2  # with an integer, or the address of bytes that the kernel reads
    OUTPUT = 3  # ioctl with a buffer that the kernel writes
    CAPTURED = 4  # ioctl with the output that an earlier call captured, patched
    SLEEPING = 5  # ioctl with bytes that arrive while the kernel sleeps in the page fault
    ARCH_PRCTL = 6  # with an integer, or a buffer that the kernel writes
    ALT_STACK = 7  # sigaltstack; the argument is its size
    LIMIT = 8  # let the process open no more descriptors
    SPAWN = 9  # the argument is a TaskRelation
    MAP_MEMORY = 10
    MAP_PAYLOAD = 11
    SHARE_PAYLOAD = 12
    RUN = 13  # KVM_RUN with a patched run area; its output is that from exit_reason on
    RUN_GUEST = 14  # a command of the guest payload; its output is the result block and data
    GO_ON_IN_CHILD = 15


class TaskRelation(IntEnum):
    """How the scenario's process creates a task."""

    THREAD = 0
    FORK = 1
    SHARED_MM = 2
    EXEC = 3


class HostRegisters(IntEnum):
    """What the FPU registers of the calling thread have while it makes a scenario's calls."""

    AS_THEY_ARE = 0  # what the compiler and libc leave there
    ALL_INIT = 1  # INIT, and the PKRU that the kernel gives a process
    ALL_LIVE = 2  # a pattern in every component, and PKRU that denies keys
    PKRU_INIT = 3  # INIT, and PKRU 0, which is its INIT


class Competition(IntEnum):
    """Which task competes with the scenario's process for its CPU."""

    NOTHING_COMPETES = 0
    PROCESS_COMPETES = 1  # another process, with a pattern in all FPU registers


class Placement(IntEnum):
    """On which CPU the tasks of a scenario make their calls."""

    STAYS = 0  # where the scheduler puts them
    MOVES = 1  # each call on another CPU than the one before


class KickKind(IntEnum):
    """How KVM_RUN of another thread is ended while a call waits for it; 0: no such call."""

    BY_SIGNAL = 1
    WITH_IMMEDIATE_EXIT = 2  # kvm_run.immediate_exit is set before the signal


class RunFault(IntEnum):
    """Results of a call that should have waited for KVM_RUN; no errno is that large."""

    NOT_WAITED = -4097  # the call returned while the guest ran
    NOT_INTERRUPTED = -4098  # KVM_RUN did not end with EINTR


class ExitCode(IntEnum):
    """Exit status of a scenario's process."""

    DONE = 0
    GATED = 3
    BROKEN = 4
