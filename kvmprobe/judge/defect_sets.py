"""Sets of known defects that may explain a trace, without those that must fail like one before."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.scenarios.model_run import Known


class DefectSets:
    """The sets, the smallest first.

    The model's steps depend only on the defects that it asks for on the way.  So a set gives a
    wrong answer too if it has the same of the defects that the steps up to a wrong one asked for.
    """

    def __init__(self, candidates: Iterable[Behaviour]) -> None:
        self._candidates = sorted(candidates, key=lambda defect: defect.name)
        self._wrong: list[tuple[Behaviours, Behaviours]] = []

    def __iter__(self) -> Iterator[Behaviours]:
        """Yield each set that is not empty and that nothing rules out when its turn comes."""
        for count in range(1, len(self._candidates) + 1):
            for chosen in map(frozenset, combinations(self._candidates, count)):
                if not any(chosen & asked == had for asked, had in self._wrong):
                    yield chosen

    def rule_out(self, chosen: Behaviours, steps: Sequence[Known]) -> None:
        """Drop the sets that lead to the same steps.

        :param chosen: a set with which the last of the steps is wrong
        """
        asked = frozenset[Behaviour]().union(*(known.asked for known in steps))
        self._wrong.append((asked, chosen & asked))
