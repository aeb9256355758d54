"""Tables that public calls read and write: CPUID, MSRs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KVM_MAX_CPUID_ENTRIES
from kvmprobe.abi.tables import CPUID2, MSRS
from kvmprobe.bindings.packing import packed_table

if TYPE_CHECKING:
    from collections.abc import Iterable


def empty_cpuid() -> bytearray:
    """Return ``struct kvm_cpuid2`` with room for the most entries that KVM has."""
    return bytearray(CPUID2.with_room(KVM_MAX_CPUID_ENTRIES))


def used_cpuid(table: bytes | bytearray) -> bytes:
    """Return the beginning of a table, up to the last entry that its header counts."""
    return bytes(table[: CPUID2.offset(CPUID2.count(table))])


def msr_table(values: Iterable[tuple[int, int]]) -> bytearray:
    """Return ``struct kvm_msrs`` for (index, value).

    :raises LayoutError: an index that does not fit 32 bits, or a value that does not fit 64
    """
    return bytearray(packed_table(MSRS, list(values)))


def msr_values(table: bytes | bytearray, count: int) -> tuple[int, ...]:
    """Return the values of the first ``count`` entries."""
    return tuple(value for _, value in MSRS.entries(table, count))
