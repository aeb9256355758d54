"""The memory that a vCPU shares with the kernel: ``struct kvm_run``, and the bytes of I/O."""

from __future__ import annotations

import errno
import mmap
from typing import TYPE_CHECKING, Any

from kvmprobe.abi.numbers import EHWPOISON, KvmExit
from kvmprobe.bindings import exits
from kvmprobe.bindings._ffi import ffi
from kvmprobe.bindings.exit_decoding import decode, io_place
from kvmprobe.bindings.packing import in_bits
from kvmprobe.errors import LayoutError

if TYPE_CHECKING:
    from kvmprobe.bindings.exits import Exit

_HEAD = "struct kvmprobe_run_head"
_MSR_SIZE = 8
_FAULTS = {-errno.EFAULT, -EHWPOISON}


class RunArea:
    """The mapped area of one vCPU.

    :param size: bytes, as KVM_GET_VCPU_MMAP_SIZE returns
    """

    def __init__(self, fd: int, size: int) -> None:
        self._memory = mmap.mmap(fd, size)
        self._standing = 0
        self._run: Any = ffi.from_buffer(f"{_HEAD} *", self._memory)

    def close(self) -> None:
        """Unmap the area; closing it twice is harmless."""
        if not self._memory.closed:
            ffi.release(self._run)
            self._memory.close()

    def set_immediate_exit(self, value: int) -> None:
        """Set ``immediate_exit``.

        :raises LayoutError: the value does not fit its byte
        """
        if not in_bits(value, 8):
            raise LayoutError(f"kvm_run.immediate_exit: {value} does not fit 8 bits")
        self._run.immediate_exit = value

    @property
    def immediate_exit(self) -> int:
        """``immediate_exit``."""
        return int(self._run.immediate_exit)

    @property
    def exit_reason(self) -> int:
        """``exit_reason``."""
        return int(self._run.exit_reason)

    def stop_runs(self, value: int) -> None:
        """Set ``immediate_exit`` for this and all later runs."""
        self._standing = value
        self.set_immediate_exit(value)

    def end_immediate_exit(self) -> None:
        """Undo ``set_immediate_exit``, but not :meth:`stop_runs` of another thread."""
        # That thread may store its value at any point here; its last value must remain.
        while self.immediate_exit != self._standing:
            self.set_immediate_exit(self._standing)

    def exit(self) -> Exit:
        """Return why the guest stopped last."""
        return decode(self._run, self._memory)

    def memory_fault(self, result: int) -> exits.MemoryFaultExit | None:
        """Return the exit that comes together with an error of KVM_RUN; None for all others.

        :param result: of KVM_RUN: 0, or ``-errno``
        :see: Documentation/virt/kvm/api.rst KVM_EXIT_MEMORY_FAULT: after any other error,
            ``exit_reason`` is that of an earlier exit
        """
        if result not in _FAULTS or self.exit_reason != KvmExit.MEMORY_FAULT:
            return None
        fault = self._run.memory_fault
        return exits.MemoryFaultExit(int(fault.gpa), int(fault.size), int(fault.flags), -result)

    def answer_read(self, content: bytes) -> None:
        """Store the data that the guest reads by IN, MMIO or RDMSR."""
        place = self._read_place()
        if len(content) != len(place):
            raise LayoutError(f"the guest reads {len(place)} bytes, not {len(content)}")
        self._memory[place.start : place.stop] = content

    def refuse_msr(self) -> None:
        """Make RDMSR or WRMSR raise #GP."""
        if self.exit_reason not in {KvmExit.X86_RDMSR, KvmExit.X86_WRMSR}:
            raise LayoutError("the guest executed neither RDMSR nor WRMSR")
        self._run.msr.error = 1

    def _read_place(self) -> range:
        match self.exit():
            case exits.IoExit(direction=exits.IoDirection.IN):
                return io_place(self._run)
            case exits.MmioExit(direction=exits.MmioDirection.READ, size=size):
                start = ffi.offsetof(_HEAD, "mmio", "data")
                return range(start, start + size)
            case exits.MsrReadExit():
                start = ffi.offsetof(_HEAD, "msr", "data")
                return range(start, start + _MSR_SIZE)
            case _:
                return range(0)
