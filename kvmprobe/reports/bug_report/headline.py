"""A failure in one line, for the subject of a mail: what the kernel does, and after what."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

from kvmprobe.abi.fields import kind_of
from kvmprobe.abi.layout import FieldKind
from kvmprobe.abi.numbers import exit_name
from kvmprobe.reports.bug_report.operands import differing_values, operand, wrong_value
from kvmprobe.reports.claims import finding_text
from kvmprobe.reports.values import call_name, errno_symbol
from kvmprobe.results.difference import (
    BytesDiffer,
    ExitDiffers,
    HostSurvives,
    ImageDiffers,
    KernelTainted,
    KernelWarns,
    RegisterDiffers,
    ResultDiffers,
    TableDiffers,
    ValuesDiffer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.reports.bug_report.case import Case
    from kvmprobe.results.difference import Difference
    from kvmprobe.results.record import Divergence, ScenarioRecord
    from kvmprobe.scenarios.ops import Op

# Calls that say nothing of what a failure takes.
_PREPARING = frozenset(
    {
        "open",
        "KVM_CREATE_VM",
        "KVM_CREATE_VCPU",
        "KVM_SET_USER_MEMORY_REGION",
        "KVM_GET_SUPPORTED_CPUID",
        "KVM_CHECK_EXTENSION",
    }
)


def headline(case: Case, width: int) -> str:
    """Return the longest form that fits; the shortest, where none does."""
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
    call = found.call
    says = says_of(found.difference, call_name(call or found.after))
    if call is None:
        yield says
        return
    given = operand(call) if isinstance(found.difference, ResultDiffers | ExitDiffers) else ""
    with_operand = f"{says} for {given}" if given else says
    before = _before(found, record)
    after = f" after {call_name(before)}" if before else ""
    yield from (f"{with_operand}{after}", with_operand, f"{says}{after}", says)


def _before(found: Divergence, record: ScenarioRecord) -> Op | None:
    """Return the call that the failure follows: the step's own, or that of the step before."""
    if found.call != found.after:
        return found.after
    ops = [step.calls[0].op for step in record.steps[: found.step] if step.calls]
    return next((op for op in reversed(ops) if op.call_name not in _PREPARING), None)


@singledispatch
def says_of(difference: Difference, name: str) -> str:
    """Return what the kernel does: ``KVM_RUN returns -EFAULT``."""
    raise TypeError(f"no headline for {type(difference).__name__} of {name}")


@says_of.register
def _(difference: ResultDiffers, name: str) -> str:
    return f"{name} returns {errno_symbol(difference.observed)}"


@says_of.register
def _(difference: ExitDiffers, name: str) -> str:
    return f"{name} exits with {exit_name(difference.exit_reason)}"


@says_of.register
def _(difference: ValuesDiffer, name: str) -> str:
    expected, observed = difference.expected, difference.observed
    wrong = differing_values(expected, observed)
    if kind_of(wrong[0]) is FieldKind.EXIT_REASON and wrong[0] in observed:
        return f"{name} exits with {exit_name(observed[wrong[0]])}"
    texts = [wrong_value(one, observed) for one in wrong[:2]]
    return f"{name} returns wrong {' and '.join(texts)}"


@says_of.register
def _(difference: BytesDiffer, name: str) -> str:
    return f"{name} returns wrong memory from byte {difference.offset}"


@says_of.register
def _(difference: TableDiffers, name: str) -> str:
    first = difference.parts[0] if difference.parts else None
    at = f" {first.leaf:#x}.{first.subleaf:x}" if isinstance(first, RegisterDiffers) else ""
    return f"{name} returns wrong CPUID{at}"


@says_of.register
def _(difference: ImageDiffers, name: str) -> str:
    places = [run.where for run in difference.runs if run.where != "XSTATE_BV"] or ["XSTATE_BV"]
    return f"{name} returns wrong {' and '.join(places[:2])}"


@says_of.register
def _(_difference: HostSurvives, name: str) -> str:
    return f"{name} returns"


@says_of.register
def _(_difference: KernelWarns, name: str) -> str:
    return f"Kernel warning during {name}"


@says_of.register
def _(_difference: KernelTainted, _name: str) -> str:
    return "Kernel is tainted"
