"""Why KVM_RUN returned: one class for each exit reason, for a ``match`` statement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from kvmprobe.abi.numbers import InternalError, KvmExit


class IoDirection(IntEnum):
    """``kvm_run.io.direction``, seen from the guest."""

    IN = 0
    OUT = 1


class MmioDirection(IntEnum):
    """``kvm_run.mmio.is_write``, seen from the guest."""

    READ = 0
    WRITE = 1


@dataclass(frozen=True, slots=True)
class IoExit:
    """The guest executed IN, OUT, INS or OUTS.

    After an IN, call :meth:`VcpuFd.answer_read` before the next run.

    :ivar port: its number
    :ivar size: bytes of one access
    :ivar count: accesses, more than one with a REP prefix
    :ivar data: ``size * count`` bytes that the guest wrote; empty for IN
    """

    reason: ClassVar = KvmExit.IO

    direction: IoDirection
    port: int
    size: int
    count: int
    data: bytes


@dataclass(frozen=True, slots=True)
class MmioExit:
    """The guest accessed a guest-physical address that has no memory.

    After a read, call :meth:`VcpuFd.answer_read` before the next run.

    :ivar address: guest-physical, in bytes
    :ivar size: bytes of the access, 1 to 8
    :ivar data: ``size`` bytes that the guest wrote; empty for a read
    """

    reason: ClassVar = KvmExit.MMIO

    direction: MmioDirection
    address: int
    size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class HltExit:
    """The guest executed HLT; with an interrupt controller in the kernel KVM waits instead."""

    reason: ClassVar = KvmExit.HLT


@dataclass(frozen=True, slots=True)
class ShutdownExit:
    """The guest had a triple fault."""

    reason: ClassVar = KvmExit.SHUTDOWN


@dataclass(frozen=True, slots=True)
class FailEntryExit:
    """The processor refused to enter the guest.

    :ivar hardware_reason: the exit reason of VMX, or the exit code of SVM
    :ivar cpu: number of the host's CPU
    """

    reason: ClassVar = KvmExit.FAIL_ENTRY

    hardware_reason: int
    cpu: int


@dataclass(frozen=True, slots=True)
class InternalErrorExit:
    """KVM cannot continue the guest.

    :ivar suberror: an :class:`InternalError` if it is a known one
    :ivar data: up to 16 numbers of 64 bits; for EMULATION flags, and the instruction's bytes
    """

    reason: ClassVar = KvmExit.INTERNAL_ERROR

    suberror: int
    data: tuple[int, ...]

    @property
    def instruction(self) -> bytes:
        """The bytes of the instruction that KVM failed to emulate; empty if not reported.

        :see: linux/kvm.h: ``kvm_run.emulation_failure``
        """
        if self.suberror != InternalError.EMULATION or len(self.data) < 3 or not self.data[0] & 1:
            return b""
        size, *code = b"".join(number.to_bytes(8, "little") for number in self.data[1:3])
        return bytes(code[:size])


@dataclass(frozen=True, slots=True)
class DebugExit:
    """A breakpoint or single step that was requested with KVM_SET_GUEST_DEBUG.

    :ivar exception: 1 (#DB) or 3 (#BP)
    :ivar pc: linear address of the instruction, CS base included
    """

    reason: ClassVar = KvmExit.DEBUG

    exception: int
    pc: int
    dr6: int
    dr7: int


@dataclass(frozen=True, slots=True)
class HypercallExit:
    """The guest made a hypercall that KVM_CAP_EXIT_HYPERCALL passes to user space.

    :ivar nr: its number
    :ivar longmode: 1 if the guest ran 64-bit code
    """

    reason: ClassVar = KvmExit.HYPERCALL

    nr: int
    args: tuple[int, ...]
    longmode: int


@dataclass(frozen=True, slots=True)
class MsrReadExit:
    """The guest executed RDMSR, and KVM_CAP_X86_USER_SPACE_MSR passes it to user space.

    Call :meth:`VcpuFd.answer_read` or :meth:`VcpuFd.refuse_msr` before the next run.

    :ivar why: bit 0 refused, bit 1 unknown, bit 4 filtered (KVM_MSR_EXIT_REASON_*)
    """

    reason: ClassVar = KvmExit.X86_RDMSR

    why: int
    index: int


@dataclass(frozen=True, slots=True)
class MsrWriteExit:
    """The guest executed WRMSR, and KVM_CAP_X86_USER_SPACE_MSR passes it to user space.

    Unless :meth:`VcpuFd.refuse_msr` is called, the next run continues after the instruction.

    :ivar why: bit 0 refused, bit 1 unknown, bit 4 filtered (KVM_MSR_EXIT_REASON_*)
    """

    reason: ClassVar = KvmExit.X86_WRMSR

    why: int
    index: int
    value: int


@dataclass(frozen=True, slots=True)
class SystemEventExit:
    """The guest requested a shutdown, a reset or the like, or crashed.

    :ivar event: KVM_SYSTEM_EVENT_*
    """

    reason: ClassVar = KvmExit.SYSTEM_EVENT

    event: int
    data: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MemoryFaultExit:
    """KVM could not resolve a fault on guest memory, such as a shared access to private memory.

    It is the only exit for which KVM_RUN returns an error.

    :ivar address: guest-physical, in bytes
    :ivar size: bytes of the range that user space must make accessible
    :ivar flags: bit 3: the access was to private memory (KVM_MEMORY_EXIT_FLAG_PRIVATE)
    :ivar errno: EFAULT, or 133 (EHWPOISON) where the host's memory is poisoned
    :see: Documentation/virt/kvm/api.rst KVM_EXIT_MEMORY_FAULT
    """

    reason: ClassVar = KvmExit.MEMORY_FAULT

    address: int
    size: int
    flags: int
    errno: int


@dataclass(frozen=True, slots=True)
class UnknownExit:
    """An exit of the hardware that KVM does not know.

    :ivar hardware_reason: the exit reason of VMX, or the exit code of SVM
    """

    reason: ClassVar = KvmExit.UNKNOWN

    hardware_reason: int


@dataclass(frozen=True, slots=True)
class OtherExit:
    """Any other exit reason.

    :ivar reason: a :class:`KvmExit` if it is a known one
    """

    reason: int


Exit = (
    IoExit
    | MmioExit
    | HltExit
    | ShutdownExit
    | FailEntryExit
    | InternalErrorExit
    | DebugExit
    | HypercallExit
    | MsrReadExit
    | MsrWriteExit
    | SystemEventExit
    | MemoryFaultExit
    | UnknownExit
    | OtherExit
)
