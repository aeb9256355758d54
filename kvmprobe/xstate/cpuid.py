"""CPUID tables in KVM's format, and the sizes and bitmaps in their XSAVE leaves.

Sources: SDM vol.2 CPUID, leaves 07H, 0DH, 1DH; ``struct kvm_cpuid_entry2`` in asm/kvm.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX, U32_MAX
from kvmprobe.abi.tables import CPUID, CPUID2
from kvmprobe.errors import LayoutError
from kvmprobe.xstate.features import FPSSE, numbers

_HEAD_SIZE = 576
_ALIGNMENT = 64

LEAF_FEATURES = 0x1
LEAF_EXTENDED_FEATURES = 0x7
LEAF_XSTATE = 0xD
LEAF_SGX = 0x12
LEAF_TILE = 0x1D
LEAF_TMUL = 0x1E
LEAF_ADDRESS_SIZES = 0x8000_0008
APIC_BIT = 9
XSAVE_BIT = 26
OSXSAVE_BIT = 27
X2APIC_BIT = 21
TSC_DEADLINE_BIT = 24
PKU_BIT = 3
OSPKE_BIT = 4
SHSTK_BIT = 7
IBT_BIT = 20
AMX_BF16_BIT = 22
AMX_TILE_BIT = 24
AMX_INT8_BIT = 25
AMX_FEATURES = 1 << AMX_BF16_BIT | 1 << AMX_TILE_BIT | 1 << AMX_INT8_BIT
XSAVEOPT_BIT = 0
XSAVEC_BIT = 1
XGETBV1_BIT = 2
XSAVES_BIT = 3
XFD_BIT = 4
# 0xD.n:ECX[2]: XFD can disable the component.
PLACE_WITH_XFD = 1 << 2


def halves(value: int) -> tuple[int, int]:
    """Return the lower and upper half of a 64-bit value, as in EDX:EAX."""
    return value & U32_MAX, value >> 32


class Register(StrEnum):
    """A register of a CPUID sub-leaf."""

    EAX = "eax"
    EBX = "ebx"
    ECX = "ecx"
    EDX = "edx"


VMX = (1, 0, Register.ECX, 5)
"""Leaf, sub-leaf, register and bit of VMX (SDM vol.2 CPUID)."""


class CpuidEntry(NamedTuple):
    """A CPUID sub-leaf; registers are 32-bit values."""

    leaf: int
    subleaf: int
    flags: int
    eax: int
    ebx: int
    ecx: int
    edx: int


@dataclass(frozen=True)
class CpuidTable:
    """``struct kvm_cpuid2`` decoded."""

    entries: tuple[CpuidEntry, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.entries)

    @classmethod
    def from_bytes(cls, table: bytes) -> CpuidTable:
        """Decode a header of 8 bytes and entries of 40 bytes.

        :raises LayoutError: fewer bytes than ``nent`` entries need
        """
        if len(table) < CPUID2.offset(0):
            raise LayoutError(f"CPUID table of {len(table)} bytes is shorter than its header")
        nent = CPUID2.count(table)
        if len(table) < CPUID2.offset(nent):
            raise LayoutError(f"CPUID table of {len(table)} bytes is too short for {nent} entries")
        return cls(tuple(map(CpuidEntry._make, CPUID2.entries(table, nent))))

    def to_bytes(self) -> bytes:
        """Encode as ``struct kvm_cpuid2``."""
        return CPUID2.pack(self.entries)

    def to_version_1(self) -> bytes:
        """Encode as ``struct kvm_cpuid``, whose entries have neither index nor flags."""
        return CPUID.pack((e.leaf, e.eax, e.ebx, e.ecx, e.edx) for e in self.entries)

    def find(self, leaf: int, subleaf: int) -> CpuidEntry | None:
        """Return the entry that KVM uses for a sub-leaf, or None.

        An entry whose index is not significant applies to all sub-leaves of its leaf.
        """
        number = self.index(leaf, subleaf)
        return None if number is None else self.entries[number]

    def index(self, leaf: int, subleaf: int) -> int | None:
        """Return the index of the entry that :meth:`find` returns, or None."""
        place = leaf, subleaf
        if place not in self._found:
            self._found[place] = self._search(leaf, subleaf)
        return self._found[place]

    @cached_property
    def _found(self) -> dict[tuple[int, int], int | None]:
        return {}

    def _search(self, leaf: int, subleaf: int) -> int | None:
        for number, entry in enumerate(self.entries):
            if entry.leaf == leaf and (
                entry.subleaf == subleaf or not entry.flags & KVM_CPUID_FLAG_SIGNIFICANT_INDEX
            ):
                return number
        return None

    def at(self, leaf: int, subleaf: int) -> CpuidEntry:
        """Return the entry of a sub-leaf; all zero if the table has none."""
        found = self.find(leaf, subleaf)
        return found or CpuidEntry(leaf, subleaf, KVM_CPUID_FLAG_SIGNIFICANT_INDEX, 0, 0, 0, 0)

    def has(self, leaf: int, subleaf: int, register: Register, bit: int) -> bool:
        """Return True if a feature bit is set; a missing leaf has none."""
        entry = self.find(leaf, subleaf)
        return entry is not None and bool(getattr(entry, register) >> bit & 1)

    def replaced(self, leaf: int, subleaf: int, **registers: int) -> CpuidTable:
        """Return the table with registers of one entry changed; itself if nothing changes."""
        number = self.index(leaf, subleaf)
        if number is None:
            return self
        entry = self.entries[number]._replace(**registers)
        if entry == self.entries[number]:
            return self
        return CpuidTable((*self.entries[:number], entry, *self.entries[number + 1 :]))

    def standard_size(self, components: int) -> int:
        """Return the size of a standard-format image in bytes, from the offsets in leaf 0xD.

        SDM vol.1 §13.4.3 "Extended Region of an XSAVE Area"
        """
        places = (self.at(LEAF_XSTATE, nr) for nr in numbers(components & ~FPSSE))
        return max([_HEAD_SIZE, *(place.ebx + place.eax for place in places)])

    def compacted_size(self, components: int) -> int:
        """Return the size of a compacted image in bytes, from the sizes in leaf 0xD.

        Components follow each other by number; one with 0xD.n:ECX[1] is aligned to 64 bytes.
        SDM vol.1 §13.4.3 "Extended Region of an XSAVE Area"
        """
        size = _HEAD_SIZE
        for nr in numbers(components & ~FPSSE):
            place = self.at(LEAF_XSTATE, nr)
            if place.ecx >> 1 & 1:
                size = -(-size // _ALIGNMENT) * _ALIGNMENT
            size += place.eax
        return size

    @property
    def xcr0(self) -> int:
        """The XCR0 bits in leaf 0xD; 0 without that leaf."""
        entry = self.find(LEAF_XSTATE, 0)
        return entry.eax | entry.edx << 32 if entry else 0

    @property
    def xss(self) -> int:
        """The IA32_XSS bits in leaf 0xD; 0 without that sub-leaf."""
        entry = self.find(LEAF_XSTATE, 1)
        return entry.ecx | entry.edx << 32 if entry else 0

    @property
    def xstate_size(self) -> int:
        """Size of a standard-format image with all of ``xcr0`` (0xD.0:ECX), bytes."""
        entry = self.find(LEAF_XSTATE, 0)
        return entry.ecx if entry else 0


EMPTY_TABLE = CpuidTable(())
