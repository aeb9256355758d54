"""Turns a trace into a scenario's record, with its verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.judge.lockstep import agrees_along, examined, explanation
from kvmprobe.judge.oops import oops_of
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.model.rule import DocumentSource, Rule
from kvmprobe.results.difference import KernelTainted
from kvmprobe.results.known import known_defects
from kvmprobe.results.record import Divergence, ScenarioRecord
from kvmprobe.results.trace import End
from kvmprobe.results.verdict import FAILURES, Verdict
from kvmprobe.scenarios.model_run import ModelRuns

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import Crash, Finding, Target
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.scenario import Scenario


NO_TAINT = Rule(
    "a scenario leaves the kernel's taint as it was",
    ("INV-43",),
    (DocumentSource("Documentation/admin-guide/tainted-kernels.rst", "Tainted kernels"),),
)


def judged(
    scenario: Scenario,
    host: HostProfile,
    trace: Trace,
    target: Target,
    crash: Crash | None = None,
    model_runs: ModelRuns | None = None,
) -> ScenarioRecord:
    """Return the record of a scenario that ran, perhaps not to its end.

    :param crash: report of a host that died in the step after the last one of the trace
    :param model_runs: model runs of the host, if other scenarios share them
    """
    model_runs = model_runs or ModelRuns(host)
    tainted = _taint(trace)
    diverged, steps = examined(scenario, model_runs, trace)
    found = diverged + tainted
    step, during = scenario.next_step(len(trace.steps))
    crash = crash or oops_of(trace)
    if crash is not None:
        crash = replace(crash, step=step, during=during)
    known: tuple[str, ...] = ()
    # No known defect taints the kernel without killing the host.
    if (found or crash) and not tainted:
        known = explanation(scenario, model_runs, trace, crashed=crash is not None)
    verdict = _verdict(trace, found, crash)
    return ScenarioRecord(
        id=scenario.id,
        row=scenario.row,
        column=scenario.column,
        target=target,
        verdict=verdict,
        reason=trace.end_note,
        steps=steps,
        divergences=found,
        known=known,
        expected_defects=_expected_defects(scenario, host, model_runs, trace)
        if verdict is Verdict.PASS
        else (),
        crash=crash,
        hang=trace.hang.at(step, during) if trace.hang else None,
        duration=trace.seconds,
    )


def with_findings(record: ScenarioRecord, found: tuple[Finding, ...]) -> ScenarioRecord:
    """Return a record with more findings; an unexplained one turns PASS into DIVERGED."""
    explained = tuple(f if f.known else replace(f, known=record.known) for f in found)
    unexplained = any(not f.known for f in explained)
    failed = unexplained and record.verdict is Verdict.PASS
    verdict = Verdict.DIVERGED if failed else record.verdict
    return replace(record, findings=(*record.findings, *explained), verdict=verdict)


def as_expected_failure(record: ScenarioRecord) -> ScenarioRecord:
    """Return a record with XFAIL or XPASS where known defects matter.

    A failure that known defects explain is XFAIL.  A pass is XPASS if a defect that was found in
    this kernel should have shown: the kernel, the defect's description or its probe is wrong.
    """
    if record.expected_defects and record.verdict is Verdict.PASS:
        ids = " and ".join(record.expected_defects)
        return replace(record, verdict=Verdict.XPASS, reason=f"{ids} should have shown here")
    if record.explained and record.verdict in FAILURES - {Verdict.TIMED_OUT}:
        return replace(record, verdict=Verdict.XFAIL)
    return record


def skipped(scenario: Scenario, target: Target, code: str, reason: str) -> ScenarioRecord:
    """Return the record of a scenario that cannot run on a target."""
    return ScenarioRecord(
        id=scenario.id,
        row=scenario.row,
        column=scenario.column,
        target=target,
        verdict=Verdict.SKIPPED,
        reason=f"{code}: {reason}",
    )


def _verdict(trace: Trace, found: tuple[Divergence, ...], crash: Crash | None) -> Verdict:
    if crash is not None:
        return Verdict.CRASHED
    match trace.end:
        case End.BROKEN | End.LOST:
            return Verdict.BROKEN
        case End.TIMEOUT:
            return Verdict.TIMED_OUT
        case End.SIGNAL:
            return Verdict.CRASHED
        case End.DONE | End.GATED:
            return Verdict.DIVERGED if found else Verdict.PASS


def _expected_defects(
    scenario: Scenario, host: HostProfile, model_runs: ModelRuns, trace: Trace
) -> tuple[str, ...]:
    """Return the defects of this kernel that should have shown in this scenario, and did not."""
    defects = host.behaviours & DEFECTS
    # A kernel with defects that the model does not ask for answers as a correct one.
    if defects.isdisjoint(model_runs.with_defects().asked(scenario)):
        return ()
    if agrees_along(scenario, model_runs.with_defects(defects), trace):
        return ()
    alone = [
        defect
        for defect in sorted(defects, key=lambda d: d.name)
        if not agrees_along(scenario, model_runs.with_defects(frozenset({defect})), trace)
    ]
    return tuple(known_defects()[defect].id for defect in alone)


def _taint(trace: Trace) -> tuple[Divergence, ...]:
    """Return a divergence if the scenario tainted the kernel; the step and call are not known."""
    if not trace.taint:
        return ()
    last = max(len(trace.steps) - 1, 0)
    return (Divergence(last, None, None, KernelTainted(trace.taint), NO_TAINT),)
