"""CPUID and XCR0 of the processor that this runs on, through the ``cpuid`` package.

CPUID may differ between CPUs and be stale after a migration, so the caller is pinned to one CPU.
Leaf and subleaf are always given (ECX is an input), and no leaf beyond the maximum, for which a CPU
returns the data of its highest leaf.  XGETBV is executed only where it cannot fault.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import cpuid

from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.bindings._ffi import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXTENDED = 0x8000_0000
_OSXSAVE = 1 << 27
_XGETBV1 = 1 << 2


class Registers(NamedTuple):
    """What CPUID returned; 32 bits each."""

    eax: int
    ebx: int
    ecx: int
    edx: int


_NOTHING = Registers(0, 0, 0, 0)


@contextmanager
def pinned() -> Iterator[int]:
    """Stay on one of the CPUs that this process may use; yields its number."""
    before = os.sched_getaffinity(0)
    chosen = min(before)
    os.sched_setaffinity(0, {chosen})
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


def leaf(number: int, subleaf: int = 0) -> Registers:
    """Return a leaf's registers; all zero beyond the maximum leaf of its range.

    :see: SDM vol.2 CPUID
    """
    base = number & _EXTENDED
    if number > cpuid.cpuid_count(base, 0)[0]:
        return _NOTHING
    return answer(number, subleaf)


def answer(number: int, subleaf: int) -> Registers:
    """Return what CPUID returns, also beyond the maximum, where the hypervisor's leaves are."""
    return Registers(*(register & U32_MAX for register in cpuid.cpuid_count(number, subleaf)))


def own_leaf(number: int, subleaf: int) -> Registers:
    """Return a leaf as our own CPUID instruction reads it, to check the package."""
    registers = ffi.new("uint32_t[4]")
    lib.kvmprobe_cpuid(number, subleaf, registers)
    return Registers(*registers)


def vendor() -> str:
    """Return the vendor string of leaf 0, such as ``GenuineIntel``."""
    return str(cpuid.cpu_vendor())


def brand() -> str:
    """Return the processor's brand string; empty if it has none."""
    if leaf(_EXTENDED).eax < _EXTENDED + 4:
        return ""
    return str(cpuid.cpu_name()).rstrip("\0 ")


def signature() -> int:
    """Return family, model and stepping as leaf 1 EAX has them."""
    return leaf(1).eax


def xcr0() -> int:
    """Return XCR0, or 0 where the operating system has not enabled XSAVE.

    :see: SDM vol.2 XGETBV: #UD if CR4.OSXSAVE=0
    """
    return int(cpuid.xgetbv(0)) if leaf(1).ecx & _OSXSAVE else 0


def xinuse() -> int:
    """Return XCR0 & XINUSE of this thread, or 0 where XGETBV(1) is not legal."""
    if not leaf(1).ecx & _OSXSAVE or not leaf(0xD, 1).eax & _XGETBV1:
        return 0
    return int(cpuid.xgetbv(1))


def mxcsr_mask() -> int:
    """Return the legal bits of MXCSR.

    :see: SDM vol.1 §11.6.6 "Guidelines for Writing to the MXCSR Register"
    """
    return int(lib.kvmprobe_mxcsr_mask())
