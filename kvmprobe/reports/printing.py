"""Which verdicts a run prints as they come: quiet passes, and switches for each verdict."""

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
    """What is printed of failures that known defects explain."""

    COUNTED = "nothing: they are counted at the end"
    CONDENSED = "a line for the first of each label; the details at the end"
    AS_OTHERS = "as much as of others"


class Switch(Enum):
    """``--print`` and ``--no-print``."""

    ON = "--print"
    OFF = "--no-print"


@dataclass(frozen=True, slots=True)
class Printing:
    """What is printed; without switches what failed, and condensed what is known of that."""

    verdicts: frozenset[Verdict] = FAILURES | {Verdict.BROKEN}
    known: Known = Known.CONDENSED

    def switched(self, switch: Switch, names: Iterable[str]) -> Printing:
        """Return it with verdicts, ``known`` or ``all`` switched on or off.

        :raises UsageError: a name is none, or is short for several
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
    """Return the name that this one is, or is the beginning of."""
    key = name.strip().lower().replace("_", "-")
    found = [key] if key in NAMES else [known for known in NAMES if key and known.startswith(key)]
    if len(found) != 1:
        problem = f"may be {' or '.join(found)}" if found else "is none of them"
        raise UsageError(f"{name!r} {problem}; verdicts: {', '.join(NAMES)}")
    return found[0]
