"""The failure to report, and the results of other kernels in the same scenario."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.results.comparison import signature
from kvmprobe.results.known import by_id
from kvmprobe.results.releases import release_of
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmprobe.results.known import KnownDefect
    from kvmprobe.results.record import Finding, ScenarioRecord, Target
    from kvmprobe.results.run_document import RunDocument
    from kvmprobe.scenarios.scenario import Needs

_CLAIMS = frozenset({Verdict.DIVERGED, Verdict.CRASHED, Verdict.XFAIL})
# XSTATE_BV and XFD share a bit, so the next load of the guest's FPU is fatal.
_FATAL_STATE = "INV-29"


class Outcome(Enum):
    """The result of a kernel, compared with the reported one."""

    SAME = "affected"
    OTHER = "fails in another way"
    BEHAVES = "not affected"
    NOT_TESTED = "not tested"


@dataclass(frozen=True, slots=True)
class Seen:
    """The scenario on one kernel."""

    record: ScenarioRecord
    outcome: Outcome
    run: str

    @property
    def kernel(self) -> str:
        """Its release."""
        return self.record.target.kernel


@dataclass(frozen=True, slots=True)
class Case:
    """One failure.

    :ivar tool: name and version of the program that recorded it
    :ivar needs: what the scenario requires; None if the scenario is not available
    :ivar seen: the scenario on every kernel, in the order of the releases
    :ivar swapped: a scenario that passed on the same kernel and differs only in the order of two
        calls
    :ivar environment: facts of the target; empty if the run has none
    """

    record: ScenarioRecord
    tool: str
    needs: Needs | None
    seen: tuple[Seen, ...]
    swapped: ScenarioRecord | None
    environment: Mapping[str, object]

    @property
    def defects(self) -> list[KnownDefect]:
        """The known defects that explain it."""
        return [by_id(defect) for defect in self.record.known]

    @property
    def findings(self) -> list[Finding]:
        """The findings that no known defect explains."""
        return [f for f in self.record.findings if not f.known]

    @property
    def host_dies(self) -> bool:
        """True if the host died, or would have died if the run had continued."""
        fatal = any(f.invariant == _FATAL_STATE for f in self.record.findings)
        return self.record.crash is not None or fatal

    @property
    def last_step(self) -> int:
        """The last step to show: that of the crash, or that which shows the failure."""
        record = self.record
        if record.crash:
            return record.crash.step
        shown = [d.step for d in record.divergences[:1]] + [f.step for f in self.findings[:1]]
        return min(shown, default=max(len(record.steps) - 1, 0))


def case_of(
    run: RunDocument,
    others: Sequence[RunDocument],
    scenario_id: str,
    needs: Needs | None,
    target: str | None = None,
) -> Case:
    """Return the failure of a scenario in a run.

    :param target: ``host`` or ``lab``, if the run has both
    :raises UsageError: the scenario did not fail, or the failure cannot be reported
    """
    record = _claimed(run, scenario_id, target)
    seen = [Seen(record, Outcome.SAME, run.name)]
    for other in (run, *others):
        seen += [
            Seen(theirs, _outcome(record, theirs), other.name)
            for theirs in _records(other, scenario_id)
            if theirs is not record
        ]
    _check_repeats(record.target, seen)
    return Case(
        record=record,
        tool=run.tool,
        needs=needs,
        seen=tuple(_by_release(seen)),
        swapped=_swapped(run, record),
        environment=run.environments.get(record.target, {}),
    )


def _claimed(run: RunDocument, scenario_id: str, target: str | None) -> ScenarioRecord:
    records = [r for r in _records(run, scenario_id) if target in {None, r.target.kind}]
    if not records:
        raise UsageError(_absent(run, scenario_id, target))
    claimed = [record for record in records if _shows_something(record)]
    if not claimed:
        reasons = "; ".join(dict.fromkeys(map(_no_claim, records)))
        raise UsageError(f"nothing to report of {scenario_id} in {run.name}: {reasons}")
    if len(claimed) > 1:
        places = " and ".join(record.target.description for record in claimed)
        raise UsageError(f"{scenario_id} fails on {places}: choose one with --target")
    return claimed[0]


def _records(run: RunDocument, scenario_id: str) -> list[ScenarioRecord]:
    return [record for record in run.records if record.id == scenario_id]


def _absent(run: RunDocument, scenario_id: str, target: str | None) -> str:
    if scenario_id in run.not_completed:
        return f"{scenario_id} did not complete in {run.name}"
    where = f" with target {target}" if target else ""
    return f"{run.name} has no record of {scenario_id}{where}"


def _shows_something(record: ScenarioRecord) -> bool:
    shown = record.divergences or record.crash or record.findings or record.reason
    return record.verdict in _CLAIMS and bool(shown)


def _no_claim(record: ScenarioRecord) -> str:
    where = record.target.description
    reason = record.reason.splitlines()[-1] if record.reason else ""
    why = {
        Verdict.PASS: f"it passed on {where}",
        Verdict.SKIPPED: f"it was skipped on {where}: {reason}",
        Verdict.TIMED_OUT: f"it timed out on {where}, and showed no difference before",
        Verdict.FAILED: f"it is a test of another project, which failed on {where}: {reason}",
        Verdict.BROKEN: f"kvmprobe itself failed on {where}: {reason}",
        Verdict.XPASS: f"it passed on {where}, although a known defect should have shown: {reason}",
    }
    unknown = f"its record has the verdict {record.verdict.value} on {where}, but no reason"
    return why.get(record.verdict, unknown)


def _outcome(record: ScenarioRecord, theirs: ScenarioRecord) -> Outcome:
    match theirs.verdict:
        case Verdict.PASS | Verdict.XPASS:
            return Outcome.BEHAVES
        case Verdict.SKIPPED | Verdict.BROKEN | Verdict.TIMED_OUT:
            return Outcome.NOT_TESTED
        case _:
            return Outcome.SAME if signature(theirs) == signature(record) else Outcome.OTHER


def _check_repeats(target: Target, seen: Iterable[Seen]) -> None:
    """Refuse a failure that did not show in every run on the reported kernel.

    :raises UsageError: it passed there in one of the runs, or failed in another way
    """
    place = (target.kind, target.release)
    here = [s for s in seen if (s.record.target.kind, s.record.target.release) == place]
    for one in here:
        if one.outcome in {Outcome.BEHAVES, Outcome.OTHER}:
            did = "passed" if one.outcome is Outcome.BEHAVES else "failed in another way"
            raise UsageError(
                f"{one.record.id} is flaky on {target.description}: it failed in {here[0].run} "
                f"and {did} in {one.run}; report a failure that shows every time"
            )


def _by_release(seen: Iterable[Seen]) -> list[Seen]:
    """Sort by release, and keep one for each kernel, host and outcome."""
    unique = {(s.record.target.kind, s.record.target.release, s.outcome): s for s in seen}
    return sorted(unique.values(), key=lambda s: release_of(s.kernel))


def _swapped(run: RunDocument, record: ScenarioRecord) -> ScenarioRecord | None:
    """Return the other scenario of a pair, whichever of the two has the finding."""
    passed = [r for r in run.records if (r.target, r.verdict) == (record.target, Verdict.PASS)]
    return next((r for r in passed if _names(record, r) or _names(r, record)), None)


def _names(record: ScenarioRecord, other: ScenarioRecord) -> bool:
    return any(finding.other == other.id for finding in record.findings)
