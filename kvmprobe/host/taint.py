"""The kernel's taint bitmap: its letters, and which of them make results worthless.

:see: Documentation/admin-guide/tainted-kernels.rst
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Taint:
    """One bit of /proc/sys/kernel/tainted."""

    bit: int
    letter: str
    meaning: str


TAINTS = tuple(
    Taint(bit, letter, meaning)
    for bit, (letter, meaning) in enumerate(
        (
            ("P", "a proprietary module was loaded"),
            ("F", "a module was force loaded"),
            ("S", "the kernel runs on a system that is out of specification"),
            ("R", "a module was force unloaded"),
            ("M", "the processor reported a machine check exception"),
            ("B", "a bad page was referenced, or page flags were unexpected"),
            ("U", "the taint was requested by user space"),
            ("D", "the kernel died before: there was an oops or a BUG"),
            ("A", "an ACPI table was overridden by the user"),
            ("W", "the kernel issued a warning"),
            ("C", "a staging driver was loaded"),
            ("I", "a workaround for a bug in the platform's firmware is applied"),
            ("O", "a module from outside the kernel's tree was loaded"),
            ("E", "an unsigned module was loaded"),
            ("L", "a soft lockup occurred"),
            ("K", "the kernel was live patched"),
            ("X", "auxiliary taint, defined by the distribution"),
            ("T", "the kernel was built with the struct randomization plugin"),
            ("N", "an in-kernel test was run"),
            ("J", "user space used a mutating debug operation in fwctl"),
        )
    )
)


class Weight(Enum):
    """What a taint means for a test."""

    SPOILS = "what is found may come of the earlier fault"
    TOLD = "kernel developers want to know it"


# After a machine check, bad page, death, warning or lockup nothing that is found can be trusted.
SPOILING_LETTERS = frozenset("MBDWL")


def taints(value: int) -> tuple[Taint, ...]:
    """Return the taints in a bitmap; a bit that is not known has letter ``?``."""
    unknown = (bit for bit in range(len(TAINTS), value.bit_length()) if value >> bit & 1)
    return (
        *(taint for taint in TAINTS if value >> taint.bit & 1),
        *(Taint(bit, "?", f"taint bit {bit} is not known to kvmprobe") for bit in unknown),
    )


def weight(taint: Taint) -> Weight:
    """Return whether a taint spoils results."""
    return Weight.SPOILS if taint.letter in SPOILING_LETTERS else Weight.TOLD


def letters(value: int) -> str:
    """Return ``WO`` and the like, in the order of the bits."""
    return "".join(taint.letter for taint in taints(value))
