"""A table of CPUID entries as KVM passes it, and what its XSAVE leaves say.

Sources: SDM vol.2 CPUID, leaves 07H, 0DH, 1DH; ``struct kvm_cpuid_entry2`` in asm/kvm.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX, U32_MAX
from kvmprobe.errors import LayoutError
from kvmprobe.xstate.features import FPSSE, numbers

_HEADER = struct.Struct("=II")
_ENTRY = struct.Struct("=7I12x")
_VERSION_1_ENTRY = struct.Struct("=5I4x")
_HEAD_SIZE = 576
_ALIGNMENT = 64

LEAF_FEATURES = 0x1
LEAF_EXTENDED_FEATURES = 0x7
LEAF_XSTATE = 0xD
LEAF_SGX = 0x12
LEAF_TILE = 0x1D
LEAF_TMUL = 0x1E
LEAF_ADDRESS_SIZES = 0x8000_0008
XSAVE_BIT = 26
OSXSAVE_BIT = 27
PKU_BIT = 3
OSPKE_BIT = 4
SHSTK_BIT = 7
IBT_BIT = 20
AMX_BF16_BIT = 22
AMX_TILE_BIT = 24
AMX_INT8_BIT = 25
AMX_FEATURES = 1 << AMX_BF16_BIT | 1 << AMX_TILE_BIT | 1 << AMX_INT8_BIT
XSAVEC_BIT = 1
XSAVES_BIT = 3
XFD_BIT = 4
# 0xD.n:ECX of a component that XFD can disable
PLACE_WITH_XFD = 1 << 2


def halves(value: int) -> tuple[int, int]:
    """Return what EAX, or ECX, and EDX hold of a value of 64 bits."""
    return value & U32_MAX, value >> 32


class Register(Enum):
    """One of the four registers of a sub-leaf."""

    EAX = "eax"
    EBX = "ebx"
    ECX = "ecx"
    EDX = "edx"


class CpuidEntry(NamedTuple):
    """One sub-leaf; registers are 32-bit values."""

    leaf: int
    subleaf: int
    flags: int
    eax: int
    ebx: int
    ecx: int
    edx: int


@dataclass(frozen=True, slots=True)
class CpuidTable:
    """``struct kvm_cpuid2`` decoded."""

    entries: tuple[CpuidEntry, ...]

    @classmethod
    def from_bytes(cls, table: bytes) -> CpuidTable:
        """Decode 8 bytes of header and 40 bytes an entry.

        :raises LayoutError: fewer bytes than ``nent`` entries take
        """
        if len(table) < _HEADER.size:
            raise LayoutError(f"CPUID table of {len(table)} bytes has no header")
        nent, _ = _HEADER.unpack_from(table)
        end = _HEADER.size + nent * _ENTRY.size
        if len(table) < end:
            raise LayoutError(f"CPUID table of {len(table)} bytes cannot hold {nent} entries")
        entries = _ENTRY.iter_unpack(table[_HEADER.size : end])
        return cls(tuple(CpuidEntry(*entry) for entry in entries))

    def to_bytes(self) -> bytes:
        """Encode as ``struct kvm_cpuid2``."""
        return _HEADER.pack(len(self.entries), 0) + b"".join(_ENTRY.pack(*e) for e in self.entries)

    def to_version_1(self) -> bytes:
        """Encode as ``struct kvm_cpuid``, whose entries have neither index nor flags."""
        entries = ((e.leaf, e.eax, e.ebx, e.ecx, e.edx) for e in self.entries)
        head = _HEADER.pack(len(self.entries), 0)
        return head + b"".join(_VERSION_1_ENTRY.pack(*e) for e in entries)

    def find(self, leaf: int, subleaf: int) -> CpuidEntry | None:
        """Return the entry that KVM takes for a sub-leaf, or None.

        An entry whose index is not significant stands for all sub-leaves of its leaf.
        """
        number = self.index(leaf, subleaf)
        return None if number is None else self.entries[number]

    def index(self, leaf: int, subleaf: int) -> int | None:
        """Return the place of the entry that :meth:`find` finds, or None."""
        for number, entry in enumerate(self.entries):
            if entry.leaf == leaf and (
                entry.subleaf == subleaf or not entry.flags & KVM_CPUID_FLAG_SIGNIFICANT_INDEX
            ):
                return number
        return None

    def at(self, leaf: int, subleaf: int) -> CpuidEntry:
        """Return the entry of a sub-leaf, all zero if the table has none."""
        blank = CpuidEntry(leaf, subleaf, KVM_CPUID_FLAG_SIGNIFICANT_INDEX, 0, 0, 0, 0)
        return self.find(leaf, subleaf) or blank

    def replaced(self, leaf: int, subleaf: int, **registers: int) -> CpuidTable:
        """Return the table with some registers of one entry changed, if it has that entry."""
        number = self.index(leaf, subleaf)
        if number is None:
            return self
        entry = self.entries[number]._replace(**registers)
        return CpuidTable((*self.entries[:number], entry, *self.entries[number + 1 :]))

    def standard_size(self, components: int) -> int:
        """Return the bytes of a standard-format image, by the places in this CPU's leaf 0xD.

        SDM vol.1 §13.4.3 "Extended Region of an XSAVE Area"
        """
        places = (self.at(LEAF_XSTATE, nr) for nr in numbers(components & ~FPSSE))
        return max([_HEAD_SIZE, *(place.ebx + place.eax for place in places)])

    def compacted_size(self, components: int) -> int:
        """Return the bytes of a compacted image, by the sizes in this CPU's leaf 0xD.

        Components follow each other by number; one with 0xD.n:ECX[1] begins at a multiple of 64.
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
        """Bits that leaf 0xD lets XCR0 have; 0 without that leaf."""
        entry = self.find(LEAF_XSTATE, 0)
        return entry.eax | entry.edx << 32 if entry else 0

    @property
    def xss(self) -> int:
        """Bits that leaf 0xD lets IA32_XSS have; 0 without that sub-leaf."""
        entry = self.find(LEAF_XSTATE, 1)
        return entry.ecx | entry.edx << 32 if entry else 0

    @property
    def xstate_size(self) -> int:
        """Bytes of a standard-format image with everything in ``xcr0`` (0xD.0:ECX)."""
        entry = self.find(LEAF_XSTATE, 0)
        return entry.ecx if entry else 0


EMPTY_TABLE = CpuidTable(())
