"""How a reproducer ended: its exit status and its last lines.

This module is pure: a report needs the exit statuses on machines that cannot write the program.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

GO_ON = "--go-on"
NOT_REPRODUCED, REPRODUCED, CANNOT_RUN = 0, 1, 2
_MARK = "MISMATCH"


class Result(Enum):
    """The result of a program."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    PANICKED = "reproduced: the kernel panicked"
    CANNOT_RUN = "could not run"

    @property
    def reproduced(self) -> bool:
        """True if the kernel misbehaved."""
        return self in {Result.REPRODUCED, Result.PANICKED}


_RESULTS = {
    REPRODUCED: Result.REPRODUCED,
    NOT_REPRODUCED: Result.NOT_REPRODUCED,
    CANNOT_RUN: Result.CANNOT_RUN,
}


@dataclass(frozen=True, slots=True)
class Ended:
    """A program's result, and the lines that it printed."""

    result: Result
    lines: tuple[str, ...]

    @classmethod
    def of(cls, status: int, output: str) -> Ended:
        """Convert an exit status; an unknown one means that the program could not run."""
        return cls(_RESULTS.get(status, Result.CANNOT_RUN), tuple(output.splitlines()))

    @property
    def first_mismatch(self) -> tuple[str, ...]:
        """The lines of the first difference: the call, and what differs."""
        for number, line in enumerate(self.lines):
            if _MARK in line:
                call = [text for text in self.lines[:number] if not text.startswith(" ")]
                return (*call[-1:], line.strip())
        return ()

    @property
    def last_line(self) -> str:
        """The last line that it printed."""
        return self.lines[-1] if self.lines else "it printed nothing"
