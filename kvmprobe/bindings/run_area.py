"""The memory that a vCPU shares with the kernel: ``struct kvm_run``, and the bytes of I/O."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

from kvmprobe.abi.numbers import KvmExit
from kvmprobe.bindings import exits
from kvmprobe.bindings._ffi import ffi
from kvmprobe.bindings.exit_decoding import decode, io_place
from kvmprobe.errors import LayoutError

if TYPE_CHECKING:
    from kvmprobe.bindings.exits import Exit

_HEAD = "struct kvmprobe_run_head"
_MSR_SIZE = 8


class RunArea:
    """The mapped area of one vCPU.

    :param size: bytes, as KVM_GET_VCPU_MMAP_SIZE tells
    """

    def __init__(self, fd: int, size: int) -> None:
        self._memory = mmap.mmap(fd, size)
        self._run: Any = ffi.from_buffer(f"{_HEAD} *", self._memory)

    def close(self) -> None:
        """Unmap it; a second time does nothing."""
        if not self._memory.closed:
            ffi.release(self._run)
            self._memory.close()

    def set_immediate_exit(self, value: int) -> None:
        """Set ``immediate_exit``."""
        self._run.immediate_exit = value

    @property
    def exit_reason(self) -> int:
        """``exit_reason``."""
        return int(self._run.exit_reason)

    def exit(self) -> Exit:
        """Return what the area says of the last exit."""
        return decode(self._run, self._memory)

    def answer_read(self, content: bytes) -> None:
        """Store what the guest reads: IN, MMIO or RDMSR."""
        place = self._read_place()
        if len(content) != len(place):
            raise LayoutError(f"the guest reads {len(place)} bytes, not {len(content)}")
        self._memory[place.start : place.stop] = content

    def refuse_msr(self) -> None:
        """Have RDMSR or WRMSR end in #GP."""
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
