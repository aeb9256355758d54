"""Comparing a function's text at two times: static keys are switched, modules lie elsewhere.  Pure.

At a static key the kernel has a NOP or a jump, of 2 or 5 bytes, and replaces one by the other when
the key is switched, as ``kvm_has_noapic_vcpu`` while a vCPU without a LAPIC exists.  In a module
that lies elsewhere, relocations have other values, of 32 or 64 bits.  The blocks are the same.
Source: Linux arch/x86/kernel/jump_label.c, __jump_label_patch(); arch/x86/kernel/module.c,
__write_relocate_add().
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_SITES = ((b"\x66\x90", b"\xeb"), (b"\x0f\x1f\x44\x00\x00", b"\xe9"))
_FIELD = 4  # bytes of a relocation; of one of 64 bits, the lower half


def is_same_text(one: bytes, other: bytes, moves: Collection[int] = ()) -> bool:
    """Return True if two texts of a function differ in switched static keys and relocations only.

    :param moves: by how much the value of a relocation can be larger in ``other``, bytes
    """
    if len(one) != len(other):
        return False
    place = 0
    while place < len(one):
        if one[place] == other[place]:
            place += 1
            continue
        behind = (
            _behind_site(one, other, place)
            or _behind_site(other, one, place)
            or _behind_relocation(one, other, place, moves)
        )
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


def _behind_relocation(one: bytes, other: bytes, first: int, moves: Collection[int]) -> int | None:
    """Return the place behind a relocation whose first differing byte is here; else None."""
    for start in range(max(first - _FIELD + 1, 0), first + 1):
        end = start + _FIELD
        before, after = (int.from_bytes(text[start:end], "little") for text in (one, other))
        if end <= len(one) and any((after - before - move) % (1 << 32) == 0 for move in moves):
            return end
    return None
