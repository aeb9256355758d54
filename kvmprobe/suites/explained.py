"""Failures of upstream's tests whose cause is known, from ``explained.toml``."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any

from kvmprobe.results.releases import release_of


class Cause(Enum):
    """What has to change for a test to pass."""

    KERNEL = "kernel"
    EMULATOR = "emulator"
    TEST = "test"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One entry of the file, which describes the fields."""

    test: str
    says: str
    cause: Cause
    why: str
    source: str
    before: str = ""

    def holds(self, test: str, kernel: str, reason: str) -> bool:
        """Return True if it explains this failure.

        :param test: the test's name
        :param kernel: release of the kernel
        :param reason: the last line of the reason
        """
        is_of_kernel = not self.before or release_of(kernel) < release_of(self.before)
        said = re.search(self.says, reason) is not None
        return re.fullmatch(self.test, test) is not None and is_of_kernel and said


@cache
def explanations() -> tuple[Explanation, ...]:
    """Return all entries."""
    text = (files(__package__) / "explained.toml").read_text(encoding="utf-8")
    listed: list[dict[str, Any]] = tomllib.loads(text)["explanation"]
    return tuple(Explanation(**entry | {"cause": Cause(entry["cause"])}) for entry in listed)


def explained(test: str, kernel: str, reason: str) -> str:
    """Return the reason of a failure, with its cause if that is known."""
    last = reason.rpartition("\n")[2]
    found = next((e for e in explanations() if e.holds(test, kernel, last)), None)
    return f"{reason}; {found.cause.value}: {found.why}" if found else reason
