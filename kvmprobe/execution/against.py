"""Compares what two kernels do in one sequence: what no name explains is a difference to look at.

Each kernel is judged against the model of its own host.  Where both do what is predicted, the
difference is that of the predictions, and has a name: a behaviour that one of the hosts has, a
known defect, or a fact about the host.  Where the model predicts nothing, no name explains it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.checkers.normal_msrs import moving_fields
from kvmprobe.errors import errno_name
from kvmprobe.model.outcome import NotCovered
from kvmprobe.search.signature import Explained, Signature, signatures_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.results.record import CallRecord, ScenarioRecord
    from kvmprobe.scenarios.model_run import Known, ModelRuns
    from kvmprobe.scenarios.scenario import Scenario

FACTS, FREEDOM = "facts of the hosts", "freedom that a rule leaves"
DIFFER = "kernels-differ"


class Side(NamedTuple):
    """What one kernel did, and the model of its host."""

    record: ScenarioRecord
    runs: ModelRuns


class Named(NamedTuple):
    """A difference that names explain."""

    names: tuple[str, ...]


def first_difference(scenario: Scenario, here: Side, there: Side) -> Signature | Named | None:
    """Return the first difference between two kernels: unexplained, or with its names.

    None if there is none, or a kernel fails in a way that is judged by itself.
    """
    own, others = (signatures_of(s.record, Explained.BY_KNOWN_DEFECTS) for s in (here, there))
    if own:
        return None
    if others:
        # Of the other kernel nothing else is reported.
        return Signature(DIFFER, f"only the other one fails: {others[0].what}", others[0].where)
    walks = [side.runs.with_defects().walked(scenario) for side in (here, there)]
    known = tuple(dict.fromkeys((*here.record.known, *there.record.known)))
    for number, (mine, theirs) in enumerate(_calls(here.record, there.record)):
        if _same(mine, theirs):
            continue
        if known:
            return Named(known)
        return _named(mine, theirs, [walk[: number + 1] for walk in walks], (here, there))
    return None


def _calls(here: ScenarioRecord, there: ScenarioRecord) -> Iterator[tuple[CallRecord, CallRecord]]:
    for mine, theirs in zip(here.steps, there.steps, strict=False):
        yield from zip(mine.calls, theirs.calls, strict=False)


def _named(
    mine: CallRecord,
    theirs: CallRecord,
    walks: Sequence[Sequence[Known]],
    sides: tuple[Side, Side],
) -> Signature | Named:
    behaviours = [side.runs.with_defects().host.behaviours for side in sides]
    differing = behaviours[0] ^ behaviours[1]
    outcomes = [walk[-1].step.outcome for walk in walks]
    covered = not any(isinstance(outcome, NotCovered) for outcome in outcomes)
    # Where the model has no rule for the answer, only what this call asked for explains it.
    steps = [known for walk in walks for known in (walk if covered else walk[-1:])]
    asked = frozenset().union(*(known.asked for known in steps))
    if names := sorted(b.name for b in asked & differing):
        return Named(tuple(names))
    if covered:
        return Named((FACTS if outcomes[0] != outcomes[1] else FREEDOM,))
    where = sorted(_differing(mine, theirs))[:1]
    if mine.result != theirs.result:
        where = [f"{_result(mine)} here, {_result(theirs)} there"]
    return Signature(DIFFER, "no rule for either", (mine.op.interface, *where))


def _result(call: CallRecord) -> str:
    return errno_name(-call.result) if call.result < 0 else str(min(call.result, 1))


def _same(mine: CallRecord, theirs: CallRecord) -> bool:
    binds = mine.op.binds or not mine.op.on_kinds
    if binds and min(mine.result, theirs.result) >= 0:
        return True
    return mine.result == theirs.result and not _differing(mine, theirs)


def _differing(mine: CallRecord, theirs: CallRecord) -> set[str]:
    """Return the names of values that differ, without those that move and bits that may differ."""
    both = mine.fields.keys() & theirs.fields.keys() - moving_fields(mine)
    return {
        name
        for name in both
        if (mine.fields[name] ^ theirs.fields[name])
        & ~(mine.undetermined.get(name, 0) | theirs.undetermined.get(name, 0))
    }
