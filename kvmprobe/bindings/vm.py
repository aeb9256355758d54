"""A VM descriptor."""

from __future__ import annotations

import mmap
import os
import struct
from typing import TYPE_CHECKING, Self

from kvmprobe.abi import ioctls
from kvmprobe.bindings.gateway import Pinned, checked_ioctl, checked_ioctl_buffer
from kvmprobe.bindings.vcpu import VcpuFd

if TYPE_CHECKING:
    from kvmprobe.abi.numbers import KvmCap


class VmFd:
    """One VM; close it last."""

    def __init__(self, fd: int, run_size: int) -> None:
        self.fd = fd
        self._run_size = run_size
        self._memory: list[Pinned] = []

    def close(self) -> None:
        """Close the descriptor.  Guest memory stays mapped until the vCPUs are gone too."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def create_vcpu(self, vcpu_id: int) -> VcpuFd:
        """Create a vCPU; this freezes the guest permission of the calling process.

        :raises KernelCallError: EEXIST - the id is taken; EINVAL - the id is out of range; ENOMEM
        :see: Documentation/arch/x86/xstate.rst; arch/x86/kernel/fpu/core.c: fpu_alloc_guest_fpstate
        """
        return VcpuFd(checked_ioctl(self.fd, ioctls.CREATE_VCPU, vcpu_id), self._run_size)

    def check_extension(self, cap: KvmCap) -> int:
        """Return what KVM_CHECK_EXTENSION says on this VM; 0 means absent."""
        return checked_ioctl(self.fd, ioctls.CHECK_EXTENSION, cap)

    def map_memory(self, slot: int, guest_address: int, content: bytes) -> mmap.mmap:
        """Give the guest fresh memory, rounded up to whole pages (KVM_SET_USER_MEMORY_REGION).

        :param guest_address: guest-physical, in bytes, page-aligned
        :returns: the memory
        :raises KernelCallError: EINVAL - unaligned or bad slot; EEXIST - overlaps another slot
        """
        pages = -(-len(content) // mmap.PAGESIZE)
        memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
        memory.write(content)
        # LIFETIME: the VM refers to this mapping by address; it must outlive the descriptor.
        pinned = Pinned(memory)
        self._memory.append(pinned)
        region = struct.pack("=IIQQQ", slot, 0, guest_address, len(memory), pinned.address)
        checked_ioctl_buffer(self.fd, ioctls.SET_USER_MEMORY_REGION, bytearray(region))
        return memory
