"""Comparing a function's text while static keys are switched.  Pure.

At a static key the kernel has a NOP or a jump, of 2 or 5 bytes, and replaces one by the other when
the key is switched, as ``kvm_has_noapic_vcpu`` while a vCPU without a LAPIC exists.  The blocks are
the same either way.
Source: Linux arch/x86/kernel/jump_label.c, __jump_label_patch().
"""

from __future__ import annotations

_SITES = ((b"\x66\x90", b"\xeb"), (b"\x0f\x1f\x44\x00\x00", b"\xe9"))


def is_same_text(one: bytes, other: bytes) -> bool:
    """Return True if two texts of a function differ in switched static keys only."""
    if len(one) != len(other):
        return False
    place = 0
    while place < len(one):
        if one[place] == other[place]:
            place += 1
            continue
        behind = _behind_site(one, other, place) or _behind_site(other, one, place)
        if behind is None:
            return False
        place = behind
    return True


def _behind_site(nops: bytes, jumps: bytes, start: int) -> int | None:
    """Return the place behind a site that starts here, a NOP in one text; else None."""
    for nop, jump in _SITES:
        end = start + len(nop)
        if nops[start:end] == nop and jumps[start : start + 1] == jump:
            return end
    return None
