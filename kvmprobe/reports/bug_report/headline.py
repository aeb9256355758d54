"""A failure in one line for the subject of a mail: the fault, its operand and a call before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.reports.bug_report.sequence import PREPARING
from kvmprobe.reports.claims import finding_text
from kvmprobe.reports.differences import shown
from kvmprobe.reports.operands import operand
from kvmprobe.reports.values import call_name
from kvmprobe.results.difference import ExitDiffers, KernelTainted, KernelWarns, ResultDiffers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.reports.bug_report.case import Case
    from kvmprobe.results.record import Divergence, ScenarioRecord
    from kvmprobe.scenarios.ops import Op


def headline(case: Case, width: int) -> str:
    """Return the longest form that fits; if none fits, the shortest."""
    forms = list(dict.fromkeys(_forms(case)))
    return next((text for text in forms if len(text) <= width), forms[-1])


def _forms(case: Case) -> Iterator[str]:
    record = case.record
    if record.crash:
        where = f" in {record.crash.function}" if record.crash.function else ""
        yield f"Host dies{where} during {call_name(record.crash.during) or 'a call'}"
        return
    for found in record.divergences[:1]:
        yield from _divergence_forms(found, record)
        return
    for finding in case.findings[:1]:
        yield finding_text(finding)
        return
    yield f"Process is killed: {record.reason}"


def _divergence_forms(found: Divergence, record: ScenarioRecord) -> Iterator[str]:
    match found.difference:
        case KernelWarns():
            yield f"Kernel warning during {call_name(found.after)}"
        case KernelTainted():
            yield "Kernel is tainted"
        case difference:
            call = found.call or found.after
            says = f"{call_name(call)} {shown(difference).fault}"
            takes = isinstance(difference, ResultDiffers | ExitDiffers)
            given = operand(call) if call and takes else ""
            with_operand = f"{says} for {given}" if given else says
            before = _before(found, record)
            after = f" after {call_name(before)}" if before else ""
            yield from (f"{with_operand}{after}", with_operand, f"{says}{after}", says)


def _before(found: Divergence, record: ScenarioRecord) -> Op | None:
    """Return the call before the failure: that of the step, or that of an earlier step."""
    if found.call != found.after:
        return found.after
    ops = [step.calls[0].op for step in record.steps[: found.step] if step.calls]
    return next((op for op in reversed(ops) if op.call_name not in PREPARING), None)
