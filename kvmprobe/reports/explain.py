"""A scenario step by step, as the model sees it: what changes, what is expected, and why.

No kernel is asked.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from kvmprobe.execution.compare import fields_text, returned
from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.model.machine import GuestCpuid, Machine, Vcpu
from kvmprobe.model.outcome import Done, Failed, HostDies, NewDescriptor, OneOf
from kvmprobe.results.known import known_defects
from kvmprobe.scenarios.hazard import first_hazard
from kvmprobe.xstate.features import names
from kvmprobe.xstate.image import xstate_bv_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import Outcome
    from kvmprobe.scenarios.scenario import Scenario

_BITMAPS = frozenset(
    {"user_xfeatures", "guest_xcr0", "xstate_bv", "xstate_bv_open", "xcr0", "xfd", "xfd_err"}
)
_HEXADECIMAL = frozenset({"mxcsr", "mxcsr_mask", "pkru"})


def explain(scenario: Scenario, host: HostProfile) -> list[str]:
    """Return the scenario's lines: each op with its expectation, rule and effect, then hazards."""
    lines = [scenario.id]
    machine = Machine.fresh(host)
    for number, step in enumerate(scenario.steps):
        for op in step.ops:
            transition = op.step(machine)
            lead = f"step {number}: " if op is step.op else "  read: "
            lines.append(f"{lead}{op.text} -> {_expected(transition.outcome)}")
            if op is step.op:
                lines.append(f"    rule: {transition.rule}")
            lines += [f"    {change}" for change in _changes(machine, transition.machine)]
            if isinstance(transition.outcome, HostDies):
                return lines
            machine = transition.machine
    return [*lines, *_hazard(scenario, host)]


def _expected(outcome: Outcome) -> str:
    match outcome:
        case NewDescriptor():
            return "a descriptor"
        case Failed(errno):
            return returned(-errno)
        case HostDies(reason):
            return f"the host dies: {reason}"
        case OneOf(choices, reason):
            return f"{' or '.join(map(_expected, choices))} ({reason})"
        case Done(value, read, image):
            parts = [returned(value)]
            if image is not None:
                parts.append(f"XSTATE_BV={names(xstate_bv_of(image.image))}")
                parts += [f"unspecified: {u.reason}" for u in image.unspecified]
            return ", ".join([*parts, fields_text(read)] if read else parts)


def _changes(before: Machine, after: Machine) -> Iterator[str]:
    if before.guest_perm != after.guest_perm:
        yield f"guest_perm: {names(before.guest_perm)} -> {names(after.guest_perm)}"
    if before.perm_locked != after.perm_locked:
        yield "guest_perm is frozen from here on"
    for name, vcpu in after.vcpus.items():
        old = before.vcpus.get(name)
        if old is not None:
            yield from _vcpu_changes(old, vcpu)


def _vcpu_changes(before: Vcpu, after: Vcpu) -> Iterator[str]:
    for field in fields(Vcpu):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old != new:
            yield f"{field.name}: {_shown(field.name, old)} -> {_shown(field.name, new)}"


def _shown(name: str, value: object) -> str:
    match value:
        case GuestCpuid(xcr0=xcr0):
            return f"a table with XCR0 bits {names(xcr0)}"
        case dict():
            held = names(sum(1 << nr for nr in value))
            return f"{held} with content" if value else "empty"
        case int() if name in _BITMAPS:
            return names(value)
        case int() if name in _HEXADECIMAL:
            return f"{value:#x}"
        case _:
            return str(value)


def _hazard(scenario: Scenario, host: HostProfile) -> list[str]:
    hazard = first_hazard(scenario, host, DEFECTS)
    if hazard is None:
        return ["hazards: none, whatever known defect the kernel has"]
    ids = " and ".join(sorted(known_defects()[defect].id for defect in hazard.defects))
    return [f"hazard: with {ids}, step {hazard.step} kills the host: {hazard.reason}"]
