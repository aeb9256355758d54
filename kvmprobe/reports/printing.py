"""Which verdicts are printed during a run; by default failures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.results.verdict import FAILURES, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

_KNOWN, _ALL = "known", "all"
_VERDICTS = {verdict.value.lower().replace("_", "-"): verdict for verdict in Verdict}
NAMES = (*_VERDICTS, _KNOWN, _ALL)


class Known(Enum):
    """How failures that known defects explain are printed."""

    COUNTED = "not printed, counted at the end"
    CONDENSED = "one line for each label, details at the end"
    AS_OTHERS = "like other failures"


class Switch(Enum):
    """``--print`` and ``--no-print``."""

    ON = "--print"
    OFF = "--no-print"


@dataclass(frozen=True, slots=True)
class Printing:
    """The verdicts to print; by default failures, with known ones condensed."""

    verdicts: frozenset[Verdict] = FAILURES | {Verdict.BROKEN}
    known: Known = Known.CONDENSED

    def switched(self, switch: Switch, names: Iterable[str]) -> Printing:
        """Return a copy with verdicts, ``known`` or ``all`` switched on or off.

        :raises UsageError: a name is unknown or ambiguous
        """
        full = {_full(name) for name in names}
        touched = frozenset(v for name, v in _VERDICTS.items() if full & {name, _ALL})
        known = self.known
        if full & {_KNOWN, _ALL}:
            known = Known.AS_OTHERS if switch is Switch.ON else Known.COUNTED
        elif switch is Switch.ON and known is Known.COUNTED and touched & FAILURES:
            known = Known.CONDENSED
        on = self.verdicts | touched if switch is Switch.ON else self.verdicts - touched
        return replace(self, verdicts=on, known=known)


def _full(name: str) -> str:
    """Return the full name of a name or of a unique abbreviation."""
    key = name.strip().lower().replace("_", "-")
    found = [key] if key in NAMES else [known for known in NAMES if key and known.startswith(key)]
    if len(found) != 1:
        problem = f"is ambiguous: {' or '.join(found)}" if found else "is unknown"
        raise UsageError(f"{name!r} {problem}; verdicts: {', '.join(NAMES)}")
    return found[0]
