"""A guest's memory: slots of guest-physical addresses, each backed by a mapping in this process."""

from __future__ import annotations

import mmap

from kvmprobe.abi import ioctls
from kvmprobe.abi.ioctls import MemoryFlag
from kvmprobe.bindings.fd import KvmFd
from kvmprobe.bindings.gateway import Pinned
from kvmprobe.errors import LayoutError

_WORD_BITS = 64


class MemoryCalls(KvmFd):
    """Memory of a VM.

    A mapping in use cannot be closed: ``mmap.close`` raises BufferError until the slot is deleted
    or gets another mapping, or the VM and its vCPUs are no longer referenced.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        # LIFETIME: the kernel refers to a mapping by address.
        self._slots: dict[int, tuple[Pinned, int]] = {}

    def map_memory(self, slot: int, guest_address: int, content: bytes) -> mmap.mmap:
        """Allocate guest memory in whole pages, and copy ``content`` to its start.

        :param guest_address: guest-physical, in bytes, page-aligned
        :returns: the memory, shared with the guest
        :raises LayoutError: no content, or a number that does not fit its field
        :raises KernelCallError: EINVAL - not page-aligned, no such slot or flag, or a change of
            the slot's size; EEXIST - overlaps another slot
        :see: Documentation/virt/kvm/api.rst KVM_SET_USER_MEMORY_REGION
        """
        if not content:
            raise LayoutError("memory of 0 bytes: delete_memory_region() removes a slot's memory")
        pages = -(-len(content) // mmap.PAGESIZE)
        memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
        memory.write(content)
        self.set_user_memory_region(slot, guest_address, memory)
        return memory

    def set_user_memory_region(
        self,
        slot: int,
        guest_address: int,
        memory: mmap.mmap,
        flags: MemoryFlag = MemoryFlag.NONE,
    ) -> None:
        """Map memory into the guest (KVM_SET_USER_MEMORY_REGION).

        A slot in use can get another address or other flags, but not another size.

        :param slot: below KVM_CAP_NR_MEMSLOTS; bits 16 to 31 are the address space, 1 for SMM
        :param guest_address: guest-physical, in bytes, page-aligned
        :raises KernelCallError: EINVAL - not page-aligned, no such slot or flag, or a change of
            the slot's size; EEXIST - overlaps another slot
        :see: Documentation/virt/kvm/api.rst KVM_SET_USER_MEMORY_REGION;
            virt/kvm/kvm_main.c: __kvm_set_memory_region
        """
        pinned = Pinned(memory)
        self._set_members(
            ioctls.SET_USER_MEMORY_REGION,
            slot=slot,
            flags=flags,
            guest_phys_addr=guest_address,
            memory_size=len(memory),
            userspace_addr=pinned.address,
        )
        self._slots[slot] = pinned, len(memory) // mmap.PAGESIZE

    def delete_memory_region(self, slot: int) -> None:
        """Delete a slot: the guest loses its memory (KVM_SET_USER_MEMORY_REGION, size 0).

        :raises KernelCallError: EINVAL - not page-aligned, no such slot or flag, or a change of
            the slot's size; EEXIST - overlaps another slot
        :see: Documentation/virt/kvm/api.rst KVM_SET_USER_MEMORY_REGION;
            virt/kvm/kvm_main.c: __kvm_set_memory_region
        """
        self._set_members(ioctls.SET_USER_MEMORY_REGION, slot=slot)
        self._slots.pop(slot, None)

    def get_dirty_log(self, slot: int) -> frozenset[int]:
        """Return the pages that the guest wrote since the last call (KVM_GET_DIRTY_LOG).

        :returns: page numbers within the slot
        :raises KernelCallError: ENOENT - the slot is empty, or not logged; EINVAL - no such slot
        :see: Documentation/virt/kvm/api.rst KVM_GET_DIRTY_LOG;
            virt/kvm/kvm_main.c: kvm_get_dirty_log_protect
        """
        _, pages = self._slots.get(slot, (None, 0))
        bitmap = bytearray(-(-pages // _WORD_BITS) * _WORD_BITS // 8)
        target = Pinned(bitmap)
        self._set_members(ioctls.GET_DIRTY_LOG, slot=slot, dirty_bitmap=target.address)
        return frozenset(page for page in range(pages) if bitmap[page // 8] >> page % 8 & 1)
