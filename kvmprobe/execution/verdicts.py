"""From a trace to a record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.execution.lockstep import divergences, explanation, step_records
from kvmprobe.results.record import Divergence, ScenarioRecord
from kvmprobe.results.trace import End
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import Crash, Target
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.scenario import Scenario


def judged(
    scenario: Scenario, host: HostProfile, trace: Trace, target: Target, crash: Crash | None = None
) -> ScenarioRecord:
    """Return the record of a scenario that ran, as far as it came.

    :param crash: the host died during the step after the trace's last
    """
    found = divergences(scenario, host, trace) + _taint(trace)
    if crash is not None:
        step = min(len(trace.steps), len(scenario.steps) - 1)
        crash = replace(crash, step=step, during=scenario.steps[step].op.text)
    known: tuple[str, ...] = ()
    if found or crash:
        known = explanation(scenario, host, trace, crash is not None)
    return ScenarioRecord(
        id=scenario.id,
        row=scenario.row,
        column=scenario.column,
        target=target,
        verdict=_verdict(trace, found, crash),
        reason=trace.end_note,
        steps=step_records(scenario, host, trace),
        divergences=found,
        known=known,
        crash=crash,
        duration=trace.seconds,
    )


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
        case End.DONE | End.HELD:
            return Verdict.DIVERGED if found else Verdict.PASS


def _taint(trace: Trace) -> tuple[Divergence, ...]:
    if not trace.taint:
        return ()
    last = max(len(trace.steps) - 1, 0)
    rule = "a scenario leaves the kernel's taint as it was (INV-43)"
    bits = f"bits {trace.taint:#x} newly set"
    return (Divergence(last, "whole scenario", "kernel taint", "unchanged", bits, rule),)
