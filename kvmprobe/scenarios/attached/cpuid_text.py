"""Text of ``cpuid -r``: a line for each processor, then one for each sub-leaf.

    CPU 0:
       0x00000001 0x00: eax=0x000c0652 ebx=0x00100800 ecx=0xfffaf38b edx=0xbfcbfbff

The first processor is read; the others differ in what identifies a processor.
Source: cpuid(1).
"""

from __future__ import annotations

import re

from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX, U32_MAX
from kvmprobe.model.literal import INDEXED_LEAVES
from kvmprobe.scenarios.attached.parts import Leaves, Unreadable
from kvmprobe.scenarios.op_fields import shown
from kvmprobe.xstate.cpuid import CpuidEntry

_PROCESSOR = re.compile(r"CPU(?: +[0-9]{1,6})?:")
_HEX = r"0x([0-9a-fA-F]{1,16})"
_LEAF = re.compile(rf"{_HEX} +{_HEX}: +eax={_HEX} +ebx={_HEX} +ecx={_HEX} +edx={_HEX}")
_FORM = "0xLEAF 0xSUBLEAF: eax=0x... ebx=0x... ecx=0x... edx=0x..."


def is_cpuid_text(text: str) -> bool:
    """Return True if a text begins as that of ``cpuid -r`` does."""
    first = next((line.strip() for line in text.split("\n") if line.strip()), "")
    return first.startswith("CPU") or "eax=" in first


def read_cpuid_text(text: str) -> Leaves:
    """Return the sub-leaves of the first processor.

    :raises Unreadable: a line has another form; the place is its number
    """
    entries: dict[tuple[int, int], CpuidEntry] = {}
    processors = 0
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped:
            continue
        if _PROCESSOR.fullmatch(stripped):
            processors += 1
            continue
        entry = _entry(stripped, f"line {number}")
        if processors > 1:
            continue
        place = entry.leaf, entry.subleaf
        if place in entries:
            expected = f"each sub-leaf once for a processor, begun by a line {'CPU 0:'!r}"
            raise Unreadable(f"line {number}", expected, f"leaf {place[0]:#x} {place[1]:#x} again")
        entries[place] = entry
    if not entries:
        raise Unreadable("line 1", f"lines of the form {_FORM!r}", "none")
    return Leaves(tuple(entries.values()))


def _entry(line: str, place: str) -> CpuidEntry:
    found = _LEAF.fullmatch(line)
    if not found:
        raise Unreadable(place, f"{_FORM!r}", shown(line))
    numbers = [int(digits, 16) for digits in found.groups()]
    if max(numbers) > U32_MAX:
        raise Unreadable(place, "numbers of 32 bits", f"{max(numbers):#x}")
    leaf, subleaf, *registers = numbers
    flags = KVM_CPUID_FLAG_SIGNIFICANT_INDEX if leaf in INDEXED_LEAVES else 0
    return CpuidEntry(leaf, subleaf, flags, *registers)
