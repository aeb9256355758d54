"""A table of CPUID entries as KVM passes it, and what its XSAVE leaves say.

Sources: SDM vol.2 CPUID, leaves 07H, 0DH, 1DH; ``struct kvm_cpuid_entry2`` in asm/kvm.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from kvmprobe.errors import LayoutError

_HEADER = struct.Struct("=II")
_ENTRY = struct.Struct("=7I12x")

LEAF_EXTENDED_FEATURES = 0x7
LEAF_XSTATE = 0xD
LEAF_TILE = 0x1D
LEAF_TMUL = 0x1E
AMX_TILE_BIT = 24
XFD_BIT = 4
XSAVES_BIT = 3


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

    def find(self, leaf: int, subleaf: int) -> CpuidEntry | None:
        """Return the entry of a sub-leaf, or None."""
        return next((e for e in self.entries if (e.leaf, e.subleaf) == (leaf, subleaf)), None)

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
