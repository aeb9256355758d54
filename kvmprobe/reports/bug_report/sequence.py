"""The sequence of calls: as a sentence, and as a table with results."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from kvmprobe.reports.bug_report.text import INDENT, row
from kvmprobe.reports.operands import row_text
from kvmprobe.reports.values import errno_symbol
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.scenario import Need
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from kvmprobe.reports.bug_report.case import Case
    from kvmprobe.results.record import StepRecord
    from kvmprobe.scenarios.ops import Op

# Calls that every scenario makes; they do not describe a failure.
PREPARING = frozenset(
    {
        "open",
        "KVM_CREATE_VM",
        "KVM_CREATE_VCPU",
        "KVM_SET_USER_MEMORY_REGION",
        "KVM_GET_SUPPORTED_CPUID",
        "KVM_CHECK_EXTENSION",
    }
)
# The first part of the sentence describes these calls.
_BEGINNING = PREPARING | {"ARCH_REQ_XCOMP_GUEST_PERM"}
_RETURNS = "returns"


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


def words(case: Case) -> str:
    """Return the sequence as a sentence, without the calls at its beginning."""
    ops = _ops(case)
    calls = [op.call_name for op in ops]
    asked = [op for op in ops if isinstance(op, RequestGuestPermission)]
    begins = "creates"
    if asked:
        components = " and ".join(dict.fromkeys(_component(op.feature_nr) for op in asked))
        begins = f"requests guest permission for {components}, creates"
    main = [call for call in calls[:-1] if call not in _BEGINNING] + calls[-1:]
    listed = [
        f"{call} ({_times(count)})" if (count := len(list(same))) > 1 else call
        for call, same in groupby(main)
    ]
    vcpus = calls.count("KVM_CREATE_VCPU")
    vcpu = "a vCPU" if vcpus < 2 else f"{vcpus} vCPUs"
    return f"A process {begins} a VM with {vcpu}, and then calls {', '.join(listed) or 'nothing'}."


def conditions(case: Case) -> str:
    """Return the requirements, if they are known."""
    if case.needs is None:
        return ""
    asked = ["access to /dev/kvm"]
    if Need.PRIVILEGE in case.needs:
        asked.append("the right to userfaultfd(2) of faults in the kernel")
    if Need.AMX in case.needs:
        asked.append("a CPU with AMX")
    if Need.CET in case.needs:
        asked.append("a CPU with CET, and a KVM that gives it to guests")
    if Need.GUEST_CODE in case.needs:
        asked.append("guest code in long mode")
    if Need.NESTED_VMX in case.needs:
        asked.append("nested virtualization on a CPU with VMX")
    if Need.TWO_CPUS in case.needs:
        asked.append("two CPUs")
    return f"Needed: {', '.join(asked)}."


def table(case: Case) -> list[str]:
    """Return a table of the steps up to the last relevant one: result, call, changed state."""
    steps = case.record.steps
    ops = _ops(case)
    results = [_result(steps[n] if n < len(steps) else None) for n in range(len(ops))]
    width = max(map(len, (_RETURNS, *results)))
    lines = [f"{INDENT}step  {_RETURNS:>{width}}  call, and state that changed"]
    state: dict[str, int] = {}
    for number in range(len(ops)):
        lead = f"{INDENT}{number:4}  {results[number]:>{width}}  "
        lines += row(lead, row_text(ops, number))
        if number < len(steps):
            lines += _state_lines(steps[number], state, " " * (len(lead) + 4))
    return lines


def _state_lines(step: StepRecord, state: dict[str, int], indent: str) -> list[str]:
    """Return the values of a step that ``state`` does not have, and add them to it."""
    read: dict[str, int] = {}
    correct: dict[str, int] = {}
    for call in step.calls:
        read |= call.fields
        correct |= call.expected
    wrong = {
        name: correct[name] for name in correct if read.get(name, correct[name]) != correct[name]
    }
    changed = [
        f"{name}={_number(value)}"
        for name, value in read.items()
        if state.get(name) != value and name not in wrong
    ]
    lines = row(indent, " ".join(changed)) if changed else []
    for name, value in wrong.items():
        lines += row(indent, f"{name}={_number(read[name])}, should be {_number(value)}")
    state |= read
    return lines


def _number(value: int) -> str:
    return f"{value:#x}" if value else "0"


def _result(step: StepRecord | None) -> str:
    """Return the result of the op's call, or that it did not return."""
    return errno_symbol(step.calls[0].result) if step and step.calls else "never"


def _ops(case: Case) -> list[Op]:
    record = case.record
    ops = [step.calls[0].op for step in record.steps if step.calls]
    if record.crash and record.crash.during and record.crash.step >= len(ops):
        ops.append(record.crash.during)
    return ops[: case.last_step + 1]


def _component(number: int) -> str:
    return XFeature(number).name if number in set(XFeature) else f"component {number}"
