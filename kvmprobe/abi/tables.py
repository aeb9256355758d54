"""Layout of the structures that ioctls take: a head and entries, or a few members.  Pure.

From linux/kvm.h and asm/kvm.h; a contract test compares it with the kernel headers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


@dataclass(frozen=True)
class Layout:
    """The members of a C structure, in order.

    :ivar name: the structure in C; empty for a number
    :ivar members: each member's format as :mod:`struct` writes it; ``4x`` is reserved, and zero
    """

    name: str
    members: Mapping[str, str]

    @cached_property
    def packed(self) -> struct.Struct:
        """All members; those that are reserved have no value."""
        return struct.Struct("=" + "".join(self.members.values()))

    def offset(self, member: str) -> int:
        """Return the offset of a member, bytes."""
        before = list(self.members).index(member)
        return struct.calcsize("=" + "".join(list(self.members.values())[:before]))


@dataclass(frozen=True)
class TableFormat:
    """A structure with a flexible array; the first member of its head counts the entries.

    :ivar head: the structure without the array
    """

    head: Layout
    entry: Layout

    def offset(self, number: int, member: str = "") -> int:
        """Return the offset of an entry, counted from 0, or of a member of it.

        That of entry ``number`` is also the size of a table with so many entries.
        """
        within = self.entry.offset(member) if member else 0
        return self.head.packed.size + number * self.entry.packed.size + within

    def pack(self, entries: Iterable[tuple[int, ...]], *flags: int) -> bytes:
        """Return the structure with these entries.

        :param flags: members of the head after the count
        :raises struct.error: a value that does not fit its member
        """
        packed = [self.entry.packed.pack(*entry) for entry in entries]
        return self.head.packed.pack(len(packed), *flags) + b"".join(packed)

    def with_room(self, count: int) -> bytes:
        """Return the structure with a count and as many entries of zeros."""
        return self.head.packed.pack(count).ljust(self.offset(count), b"\0")

    def count(self, content: bytes | bytearray) -> int:
        """Return the count in the head."""
        count: int = self.head.packed.unpack_from(content)[0]
        return count

    def entries(self, content: bytes | bytearray, count: int) -> Iterator[tuple[Any, ...]]:
        """Return the first ``count`` entries; all if there are fewer."""
        return self.entry.packed.iter_unpack(content[self.offset(0) : self.offset(count)])


_REGISTERS = dict.fromkeys(("eax", "ebx", "ecx", "edx"), "I")
CPUID2 = TableFormat(
    Layout("struct kvm_cpuid2", {"nent": "I", "padding": "4x"}),
    Layout(
        "struct kvm_cpuid_entry2",
        {"function": "I", "index": "I", "flags": "I", **_REGISTERS, "padding": "12x"},
    ),
)
CPUID = TableFormat(
    Layout("struct kvm_cpuid", {"nent": "I", "padding": "4x"}),
    Layout("struct kvm_cpuid_entry", {"function": "I", **_REGISTERS, "padding": "4x"}),
)
MSRS = TableFormat(
    Layout("struct kvm_msrs", {"nmsrs": "I", "pad": "4x"}),
    Layout("struct kvm_msr_entry", {"index": "I", "reserved": "4x", "data": "Q"}),
)
XCRS = TableFormat(
    Layout("struct kvm_xcrs", {"nr_xcrs": "I", "flags": "I"}),
    Layout("struct kvm_xcr", {"xcr": "I", "reserved": "4x", "value": "Q"}),
)
MOST_XCRS = 16
"""KVM_MAX_XCRS, the entries that ``struct kvm_xcrs`` has room for."""
MSR_LIST = TableFormat(Layout("struct kvm_msr_list", {"nmsrs": "I"}), Layout("", {"index": "I"}))
REG_LIST = TableFormat(Layout("struct kvm_reg_list", {"n": "Q"}), Layout("", {"id": "Q"}))

ONE_REG = Layout("struct kvm_one_reg", {"id": "Q", "addr": "Q"})
DEVICE_ATTR = Layout(
    "struct kvm_device_attr", {"flags": "I", "group": "I", "attr": "Q", "addr": "Q"}
)
MEMORY_REGION = Layout(
    "struct kvm_userspace_memory_region",
    {
        "slot": "I",
        "flags": "I",
        "guest_phys_addr": "Q",
        "memory_size": "Q",
        "userspace_addr": "Q",
    },
)
