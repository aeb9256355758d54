"""The scenarios that a run did not complete, and how to continue."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmprobe.scenarios.scenario_id import family_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN_IDS = 10


def remaining_lines(ids: Sequence[str], resume: str = "") -> list[str]:
    """Return the number of scenarios without a record, their families, and the first ids.

    :param ids: in the order of the run
    :param resume: the command that continues the run, or empty
    """
    if not ids:
        return []
    families = Counter(map(family_of, ids))
    of_each = ", ".join(f"{family} {count}" for family, count in families.items())
    lines = [f"kvmprobe: {len(ids)} scenarios did not complete: {of_each}"]
    lines += [f"  {name}" for name in ids[:_SHOWN_IDS]]
    if len(ids) > _SHOWN_IDS:
        lines.append(f"  ... and {len(ids) - _SHOWN_IDS} more")
    if resume:
        lines.append(f"kvmprobe: to continue: {resume}")
    return lines
