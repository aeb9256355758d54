"""Tables with a header and entries: ``struct kvm_cpuid2``, ``struct kvm_msrs``, index lists."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KVM_MAX_CPUID_ENTRIES
from kvmprobe.bindings.packing import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

CPUID_HEADER = struct.Struct("=II")
CPUID_ENTRY = struct.Struct("=7I12x")
MSR_ENTRY = struct.Struct("=IIQ")
_MSR_HEADER = struct.Struct("=II")
_MSR_RECORD = Record("struct kvm_msr_entry", index="I", reserved="I", data="Q")


def empty_cpuid() -> bytearray:
    """Return ``struct kvm_cpuid2`` with room for as many entries as KVM has at most."""
    table = bytearray(CPUID_HEADER.size + KVM_MAX_CPUID_ENTRIES * CPUID_ENTRY.size)
    CPUID_HEADER.pack_into(table, 0, KVM_MAX_CPUID_ENTRIES, 0)
    return table


def used_cpuid(table: bytes | bytearray) -> bytes:
    """Return the beginning of a table, up to the last entry that its header counts."""
    nent, _ = CPUID_HEADER.unpack_from(table)
    return bytes(table[: CPUID_HEADER.size + nent * CPUID_ENTRY.size])


def msr_table(values: Iterable[tuple[int, int]]) -> bytearray:
    """Return ``struct kvm_msrs`` for (index, value).

    :raises LayoutError: an index that does not fit 32 bits, or a value that does not fit 64
    """
    entries = [_MSR_RECORD.pack(index=index, data=value) for index, value in values]
    return bytearray(_MSR_HEADER.pack(len(entries), 0) + b"".join(entries))


def msr_values(table: bytes | bytearray, count: int) -> tuple[int, ...]:
    """Return the values of the first ``count`` entries."""
    places = range(_MSR_HEADER.size, _MSR_HEADER.size + count * MSR_ENTRY.size, MSR_ENTRY.size)
    return tuple(MSR_ENTRY.unpack_from(table, place)[2] for place in places)
