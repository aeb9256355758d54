"""The kernel's taint bitmap: its letters, and which of them make results unreliable.

:see: Documentation/admin-guide/tainted-kernels.rst
"""

from __future__ import annotations

from dataclasses import dataclass

_SPOILING = frozenset("MBDWL")


@dataclass(frozen=True, slots=True)
class Taint:
    """One bit of /proc/sys/kernel/tainted."""

    bit: int
    letter: str
    meaning: str

    @property
    def spoils(self) -> bool:
        """A machine check, bad page, oops, warning or lockup: later failures may result from it."""
        return self.letter in _SPOILING


TAINTS = tuple(
    Taint(bit, letter, meaning)
    for bit, (letter, meaning) in enumerate(
        (
            ("P", "a proprietary module was loaded"),
            ("F", "a module was force loaded"),
            ("S", "the kernel runs on a system that is out of specification"),
            ("R", "a module was force unloaded"),
            ("M", "a machine check exception occurred"),
            ("B", "a bad page was referenced, or page flags were unexpected"),
            ("U", "the taint was requested by user space"),
            ("D", "an oops or BUG occurred"),
            ("A", "an ACPI table was overridden by the user"),
            ("W", "the kernel issued a warning"),
            ("C", "a staging driver was loaded"),
            ("I", "a workaround for a bug in the platform's firmware is applied"),
            ("O", "an out-of-tree module was loaded"),
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


def taints(value: int) -> tuple[Taint, ...]:
    """Return the taints in a bitmap; an unknown bit has the letter ``?``."""
    unknown = (bit for bit in range(len(TAINTS), value.bit_length()) if value >> bit & 1)
    return (
        *(taint for taint in TAINTS if value >> taint.bit & 1),
        *(Taint(bit, "?", f"taint bit {bit} is not known to kvmprobe") for bit in unknown),
    )


def letters(value: int) -> str:
    """Return the letters in the order of the bits, such as ``WO``."""
    return "".join(taint.letter for taint in taints(value))


def described(value: int) -> str:
    """Return letters and meanings, such as ``W (W: the kernel issued a warning)``."""
    meanings = "; ".join(f"{taint.letter}: {taint.meaning}" for taint in taints(value))
    return f"{letters(value)} ({meanings})"
