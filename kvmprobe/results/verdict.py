"""The verdicts."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Verdict(Enum):
    """The verdict on a scenario; FAILED is that of a program with a verdict of its own."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    DIVERGED = "DIVERGED"
    CRASHED = "CRASHED"
    FAILED = "FAILED"
    XFAIL = "XFAIL"
    XPASS = "XPASS"
    TIMED_OUT = "TIMED_OUT"
    SKIPPED = "SKIPPED"
    BROKEN = "BROKEN"

    @property
    def sign(self) -> str:
        """The character for a cell of a table."""
        return _SIGNS[self]


def counted(counts: Mapping[Verdict, int]) -> list[str]:
    """Return ``2 DIVERGED`` for each verdict that occurs."""
    return [f"{counts[v]} {v.value}" for v in Verdict if counts.get(v)]


_SIGNS = {
    Verdict.PASS: ".",
    Verdict.DIVERGED: "D",
    Verdict.CRASHED: "C",
    Verdict.FAILED: "F",
    Verdict.XFAIL: "x",
    Verdict.XPASS: "X",
    Verdict.TIMED_OUT: "T",
    Verdict.SKIPPED: "-",
    Verdict.BROKEN: "!",
}
LABELLED = frozenset({Verdict.DIVERGED, Verdict.CRASHED, Verdict.XFAIL})
FAILURES = frozenset(
    {Verdict.DIVERGED, Verdict.CRASHED, Verdict.FAILED, Verdict.TIMED_OUT, Verdict.XPASS}
)
