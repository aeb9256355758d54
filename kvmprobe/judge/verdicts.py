"""From a trace to a record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.judge.lockstep import agrees, divergences, explanation, step_records
from kvmprobe.judge.oops import oops_of
from kvmprobe.model.behaviours import DEFECTS, variants
from kvmprobe.results.known import known_defects
from kvmprobe.results.record import Divergence, ScenarioRecord
from kvmprobe.results.trace import End
from kvmprobe.results.verdict import FAILURES, Verdict

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import Crash, Finding, Target
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.scenario import Scenario


def judged(
    scenario: Scenario, host: HostProfile, trace: Trace, target: Target, crash: Crash | None = None
) -> ScenarioRecord:
    """Return the record of a scenario that ran, as far as it came.

    :param crash: the host died during the step after the trace's last
    """
    tainted = _taint(trace)
    found = divergences(scenario, host, trace) + tainted
    step, during = scenario.behind(len(trace.steps))
    crash = crash or oops_of(trace)
    if crash is not None:
        crash = replace(crash, step=step, during=during)
    known: tuple[str, ...] = ()
    # No defect is known that taints the kernel and goes on.
    if (found or crash) and not tainted:
        known = explanation(scenario, host, trace, crash is not None)
    verdict = _verdict(trace, found, crash)
    return ScenarioRecord(
        id=scenario.id,
        row=scenario.row,
        column=scenario.column,
        target=target,
        verdict=verdict,
        reason=trace.end_note,
        steps=step_records(scenario, host, trace),
        divergences=found,
        known=known,
        expected_defects=_expected_defects(scenario, host, trace)
        if verdict is Verdict.PASS
        else (),
        crash=crash,
        hang=trace.hang.at(step, during) if trace.hang else None,
        duration=trace.seconds,
    )


def with_findings(record: ScenarioRecord, found: tuple[Finding, ...]) -> ScenarioRecord:
    """Return a record with what the checkers found; a pass with an unexplained finding is none."""
    explained = tuple(f if f.known else replace(f, known=record.known) for f in found)
    unexplained = any(not f.known for f in explained)
    failed = unexplained and record.verdict is Verdict.PASS
    verdict = Verdict.DIVERGED if failed else record.verdict
    return replace(record, findings=explained, verdict=verdict)


def as_expected_failure(record: ScenarioRecord) -> ScenarioRecord:
    """Return a record as it counts where known defects are expected to show.

    What they explain is XFAIL; a pass in which a defect that this kernel has should have shown is
    XPASS: the kernel, the defect's description or its probe is not what it is believed to be.
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


def _expected_defects(scenario: Scenario, host: HostProfile, trace: Trace) -> tuple[str, ...]:
    """Return the defects of this kernel whose model predicts something else than happened."""
    defects = host.behaviours & DEFECTS
    if not defects or agrees(scenario, host, trace):
        return ()
    plain = variants(host.behaviours)
    alone = [
        defect
        for defect in sorted(defects, key=lambda d: d.name)
        if not agrees(scenario, replace(host, behaviours=plain | {defect}), trace)
    ]
    return tuple(known_defects()[defect].id for defect in alone)


def _taint(trace: Trace) -> tuple[Divergence, ...]:
    if not trace.taint:
        return ()
    last = max(len(trace.steps) - 1, 0)
    rule = "a scenario leaves the kernel's taint as it was (INV-43)"
    bits = f"bits {trace.taint:#x} newly set"
    return (Divergence(last, "whole scenario", "kernel taint", "unchanged", bits, rule),)
