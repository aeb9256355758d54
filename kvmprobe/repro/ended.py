"""How a reproducer ended: its exit status, which the C has from here, and its last line.

This module is pure: a report needs the exit statuses on machines that cannot write the program.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

GO_ON = "--go-on"


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


STATUSES = {0: Result.NOT_REPRODUCED, 1: Result.REPRODUCED, 2: Result.CANNOT_RUN}
REPRODUCED = next(status for status, result in STATUSES.items() if result is Result.REPRODUCED)


@dataclass(frozen=True, slots=True)
class Ended:
    """A program's result, and the last line that it printed; for people, it is not parsed."""

    result: Result
    last_line: str

    @classmethod
    def of(cls, status: int, output: str) -> Ended:
        """Convert an exit status; an unknown one means that the program could not run."""
        last_line = (output.splitlines() or ["it printed nothing"])[-1]
        return cls(STATUSES.get(status, Result.CANNOT_RUN), last_line)
