"""What a scenario that was derived from another one has in common with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Aspect(Enum):
    """What a derived scenario changes, which must change nothing else."""

    READS = "reads"
    REPEATS = "repeats"
    PLACE = "place"
    REGISTERS = "registers"
    COMPETITION = "competition"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Derived:
    """The scenario that another one was derived from.

    :ivar base: its id
    :ivar aspect: what differs
    :ivar places: for each step of the base, the number of the same step in the derived scenario
    """

    base: str
    aspect: Aspect
    places: tuple[int, ...]
