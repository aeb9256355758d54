"""Comparison of two runs, by scenario and signature.  Pure.

A scenario *fails* if it shows something that a correct kernel does not do, even if that was
expected (XFAIL).  The signature of a failure is its first divergence; without a divergence it is a
checker's finding, the place of a crash, or the reason.  A crash does not change the signature of a
divergence, because only the first scenario of each kind of hazard continues to its crash.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.results.verdict import FAILURES, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.run_document import RunDocument

_FAILING = FAILURES | {Verdict.XFAIL, Verdict.BROKEN}


class Change(Enum):
    """How a scenario changed."""

    NEW_FAILURE = "new failure"
    CHANGED = "changed"
    FIXED = "fixed"
    UNCHANGED = "unchanged"
    MISSING = "missing"
    NEW_SCENARIO = "new scenario"


@dataclass(frozen=True, slots=True)
class Compared:
    """A scenario in both runs, or in one of them."""

    id: str
    change: Change
    before: ScenarioRecord | None
    after: ScenarioRecord | None

    @property
    def failing(self) -> ScenarioRecord | None:
        """The record of the failure: the later one if it fails."""
        return next((r for r in (self.after, self.before) if r and fails(r)), None)

    @property
    def regressed(self) -> bool:
        """True if the kernel got worse; fewer known defects than before are not another failure."""
        if self.change is not Change.CHANGED:
            return self.change is Change.NEW_FAILURE
        before = set(self.before.known) if self.before else set()
        after = set(self.after.known) if self.after else set()
        return not (after and after < before)


class Becomes(Enum):
    """How a known defect changed, in the scenarios that ran in both runs."""

    NEW = "new"
    FIXED = "fixed"
    UNCHANGED = "unchanged"
    CHANGED = "changed"
    NOT_TESTED = "not tested"
    FIRST_TESTED = "first tested"


@dataclass(frozen=True, slots=True)
class DefectChange:
    """A known defect, and the scenarios that show it.

    :ivar before: the scenarios that show it in the first run
    :ivar after: the scenarios that show it in the second run
    :ivar in_both: all scenarios that ran in both runs
    """

    id: str
    before: frozenset[str]
    after: frozenset[str]
    in_both: frozenset[str]

    @property
    def becomes(self) -> Becomes:
        """The change; it is fixed only if every scenario that showed it ran again."""
        if not self.before:
            return Becomes.NEW if self.after & self.in_both else Becomes.FIRST_TESTED
        if self.before & self.in_both == self.after & self.in_both != frozenset():
            return Becomes.UNCHANGED
        if not self.after:
            return Becomes.FIXED if self.before <= self.in_both else Becomes.NOT_TESTED
        return Becomes.CHANGED

    @property
    def not_again(self) -> frozenset[str]:
        """The scenarios that showed it and did not run again."""
        return self.before - self.in_both


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, compared.

    :ivar scenarios: those of the first run in its order, then those that only the second has;
        without scenarios that fail in neither
    """

    before: RunDocument
    after: RunDocument
    scenarios: tuple[Compared, ...]

    def having(self, change: Change) -> list[Compared]:
        """Return the scenarios with that change."""
        return [scenario for scenario in self.scenarios if scenario.change is change]

    @property
    def regressed(self) -> bool:
        """True if anything got worse."""
        return any(scenario.regressed for scenario in self.scenarios)

    @property
    def defects(self) -> list[DefectChange]:
        """The known defects that either run shows."""
        before, after = _ran(self.before), _ran(self.after)
        ids = dict.fromkeys(
            d for r in (*before.values(), *after.values()) if fails(r) for d in r.known
        )
        in_both = frozenset(before.keys() & after.keys())
        return [
            DefectChange(d, _showing(d, before.values()), _showing(d, after.values()), in_both)
            for d in sorted(ids)
        ]


def compare(before: RunDocument, after: RunDocument) -> Comparison:
    """Compare two runs; a scenario that was skipped did not run."""
    first, second = _ran(before), _ran(after)
    found = [
        Compared(scenario, change, first.get(scenario), second.get(scenario))
        for scenario in dict.fromkeys((*first, *second))
        if (change := _change(first.get(scenario), second.get(scenario)))
    ]
    return Comparison(before, after, tuple(found))


def fails(record: ScenarioRecord) -> bool:
    """Return True if the record shows something that a correct kernel does not do."""
    return record.verdict in _FAILING


def signature(record: ScenarioRecord) -> tuple[object, ...]:
    """Return the values by which two failures of a scenario are the same."""
    if record.divergences:
        return (record.divergences[0].signature,)
    if record.unexplained:
        return (record.unexplained[0].signature,)
    if record.crash:
        return (Verdict.CRASHED.value, record.crash.during, record.crash.function)
    return (record.verdict.value, record.reason)


def _change(before: ScenarioRecord | None, after: ScenarioRecord | None) -> Change | None:
    if before is None:
        return Change.NEW_SCENARIO
    if after is None:
        return Change.MISSING
    match fails(before), fails(after):
        case False, False:
            return None
        case False, True:
            return Change.NEW_FAILURE
        case True, False:
            return Change.FIXED
        case _:
            same = (before.known, signature(before)) == (after.known, signature(after))
            return Change.UNCHANGED if same else Change.CHANGED


def _ran(run: RunDocument) -> dict[str, ScenarioRecord]:
    return {r.id: r for r in run.records if r.verdict is not Verdict.SKIPPED}


def _showing(defect: str, records: Iterable[ScenarioRecord]) -> frozenset[str]:
    return frozenset(record.id for record in records if fails(record) and defect in record.known)
