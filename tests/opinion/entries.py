"""The entries of entries.toml: which disagreements are known, and who is right."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.opinion.agreement import Disagreement

FILE = Path(__file__).parent / "entries.toml"
SIDES = frozenset({"second", "kernel", "first"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; the file says what the fields mean."""

    against: tuple[str, ...]
    calls: tuple[str, ...]
    topics: tuple[str, ...]
    right: str
    reason: str
    source: str
    defect: str = ""
    scenarios: tuple[str, ...] = ()

    def covers(self, found: Disagreement) -> bool:
        """Return True if the entry is about this disagreement."""
        return (
            found.against in self.against
            and found.call.split("(")[0] in self.calls
            and found.topic in self.topics
            and self._is_about_scenario(found)
        )

    def stale(self, found: Iterable[Disagreement], against: str) -> Iterator[str]:
        """Yield the combinations of this entry that cover nothing.

        :param found: what was found against one transcript
        """
        covered = [one for one in found if self.covers(one)]
        for call, topic in product(self.calls, self.topics):
            if not any(one.call.startswith(call) and one.topic == topic for one in covered):
                yield f"{against}: {call}: {topic}: {self.defect or self.scenarios}"
        for pattern in self.scenarios:
            if not any(fnmatchcase(one.scenario, pattern) for one in covered):
                yield f"{against}: {pattern}"

    def _is_about_scenario(self, found: Disagreement) -> bool:
        if self.defect:
            return self.defect in found.defects
        return any(fnmatchcase(found.scenario, pattern) for pattern in self.scenarios)


@cache
def entries() -> tuple[Entry, ...]:
    """Return the entries of the file.

    :raises TypeError: a field that no entry has, or one that is missing
    """
    tables = tomllib.loads(FILE.read_text())["entry"]
    return tuple(Entry(**{key: _frozen(value) for key, value in t.items()}) for t in tables)


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def without_entry(found: Iterable[Disagreement]) -> list[Disagreement]:
    """Return the disagreements that no entry covers."""
    return [one for one in found if not any(entry.covers(one) for entry in entries())]
