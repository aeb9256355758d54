"""What was done: in words, and step by step with what came back."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from kvmprobe.errors import errno_name
from kvmprobe.reports.bug_report.text import INDENT, row
from kvmprobe.scenarios.scenario import Need
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from kvmprobe.reports.bug_report.case import Case
    from kvmprobe.results.record import StepRecord

# Calls that every sequence begins with; what they ask for stands in the sentence before the others.
_BEGINNING = frozenset(
    {
        "open",
        "ARCH_REQ_XCOMP_GUEST_PERM",
        "KVM_CREATE_VM",
        "KVM_SET_USER_MEMORY_REGION",
        "KVM_CREATE_VCPU",
        "KVM_GET_SUPPORTED_CPUID",
        "KVM_CHECK_EXTENSION",
    }
)
_PERMISSION = re.compile(r"ARCH_REQ_XCOMP_GUEST_PERM\((\d+)\)")
_CALL = re.compile(r"\w+")
_RETURNS = "returns"
_NAMES = re.compile(r" \((?:\w+\|){3,}\w+\)")


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


def words(case: Case) -> str:
    """Return the sequence as a sentence: the calls that matter, in their order."""
    calls = [_call(text) for text in _texts(case)]
    asked = [found for text in _texts(case) if (found := _PERMISSION.match(text))]
    begins = "creates"
    if asked:
        components = " and ".join(dict.fromkeys(_component(int(found[1])) for found in asked))
        begins = f"asks for guest permission for {components}, creates"
    main = [call for call in calls[:-1] if call not in _BEGINNING] + calls[-1:]
    listed = [
        f"{call} ({_times(count)})" if (count := len(list(same))) > 1 else call
        for call, same in groupby(main)
    ]
    vcpus = calls.count("KVM_CREATE_VCPU")
    vcpu = "a vCPU" if vcpus < 2 else f"{vcpus} vCPUs"
    return f"A process {begins} a VM with {vcpu}, and then calls {', '.join(listed) or 'nothing'}."


def conditions(case: Case) -> str:
    """Return what it takes, where that is known."""
    if case.needs is None:
        return ""
    asked = ["access to /dev/kvm"]
    if Need.PRIVILEGE in case.needs:
        asked.append("the right to userfaultfd(2) of faults in the kernel")
    if Need.AMX in case.needs:
        asked.append("a CPU with AMX")
    if Need.GUEST_CODE in case.needs:
        asked.append("guest code in long mode")
    return f"Needed: {', '.join(asked)}."


def table(case: Case) -> list[str]:
    """Return one entry a step, up to the last that matters: result, call, state that changed."""
    steps = case.record.steps
    texts = _texts(case)
    results = [_result(steps[n] if n < len(steps) else None) for n in range(len(texts))]
    width = max(map(len, (_RETURNS, *results)))
    lines = [f"{INDENT}step  {_RETURNS:>{width}}  call, and state that changed"]
    state: dict[str, int] = {}
    for number, text in enumerate(texts):
        lead = f"{INDENT}{number:4}  {results[number]:>{width}}  "
        lines += row(lead, _NAMES.sub("", text))
        if number < len(steps):
            lines += _state_lines(steps[number], state, " " * (len(lead) + 4))
    return lines


def _state_lines(step: StepRecord, state: dict[str, int], indent: str) -> list[str]:
    """Return what the op and its observers read that ``state`` did not have, and take it over."""
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
    """Return what the op's call returned, or that it did not return."""
    if step is None or not step.calls:
        return "never"
    result = step.calls[0].result
    return str(result) if result >= 0 else f"-{errno_name(-result).partition(' ')[0]}"


def _texts(case: Case) -> list[str]:
    record = case.record
    texts = [step.calls[0].text if step.calls else "" for step in record.steps]
    if record.crash and record.crash.step >= len(texts):
        texts.append(record.crash.during)
    return texts[: case.last_step + 1]


def _component(number: int) -> str:
    return XFeature(number).name if number in set(XFeature) else f"component {number}"


def _call(text: str) -> str:
    found = _CALL.match(text)
    return found[0] if found else text
