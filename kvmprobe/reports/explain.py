"""A scenario step by step, according to the model: state, expected results and rules.

No kernel call is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import DEFECTS
from kvmprobe.model.fpstate import Fpstate
from kvmprobe.model.machine import GuestCpuid, Process, Vcpu
from kvmprobe.model.outcome import HostDies
from kvmprobe.reports.expectations import expected_text
from kvmprobe.reports.values import rule_text, value_text
from kvmprobe.results.known import known_defects
from kvmprobe.scenarios.hazard import first_hazard
from kvmprobe.scenarios.model_run import ModelRun, ModelRuns
from kvmprobe.xstate.features import XFeature, bitmap_of, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.scenarios.scenario import Scenario

_LONGEST = 100


def explain(scenario: Scenario, host: HostProfile) -> list[str]:
    """Return the lines: for each op expected result, rule and changes of state; then hazards."""
    lines = [scenario.id]
    survives = True
    for (number, op), known in zip(scenario.ops(), ModelRun(host).walk(scenario), strict=False):
        made = known.step
        own = op is scenario.steps[number].op
        lead = f"step {number}: " if own else "  read: "
        lines.append(f"{lead}{op.text} -> {expected_text(made.outcome)}")
        if own:
            lines.append(f"    rule: {rule_text(made.rule)}")
        lines += [f"    {change}" for change in _changes(known.before, made.machine)]
        survives = not isinstance(made.outcome, HostDies)
    return [*lines, *_hazard(scenario, host)] if survives else lines


def _changes(before: Machine, after: Machine) -> Iterator[str]:
    for name, process in after.processes.items():
        yield from _process_changes(before.processes.get(name), process, name)
    several = len(after.vcpus) > 1
    for name, vcpu in after.vcpus.items():
        old = before.vcpus.get(name)
        if old is not None and old != vcpu:
            lead = f"{name} " if several else ""
            yield from (f"{lead}{change}" for change in _vcpu_changes(old, vcpu))


def _process_changes(before: Process | None, after: Process, name: str) -> Iterator[str]:
    lead = f"{name}'s " if name else ""
    if before is None:
        lock = ", frozen" if after.perm_locked else ""
        yield f"{lead}guest_perm is {names(after.guest_perm)}{lock}"
        return
    for field, old, new in zip(Process._fields, before, after, strict=True):
        if old != new and field == "perm_locked":
            yield f"{lead}guest_perm is frozen from here on"
        elif old != new:
            yield f"{lead}{field}: {_shown(field, old)} -> {_shown(field, new)}"


def _vcpu_changes(before: Vcpu | Fpstate, after: Vcpu | Fpstate) -> Iterator[str]:
    for name in after._fields:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(new, Fpstate):
            yield from _vcpu_changes(old, new)
        elif old != new and isinstance(new, Mapping) and not set(new) <= set(XFeature):
            yield f"{name}: {_changed_keys(old, new)}"
        elif old != new:
            yield f"{name}: {_shown(name, old)} -> {_shown(name, new)}"


def _changed_keys(before: Mapping[object, object], after: Mapping[object, object]) -> str:
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return f"{', '.join(map(_key, changed))} changed"


def _key(key: object) -> str:
    return key.name if isinstance(key, Enum) else f"{key:#x}" if isinstance(key, int) else str(key)


def _shown(name: str, value: object) -> str:
    match value:
        case GuestCpuid(xcr0=xcr0):
            return f"a table with XCR0 bits {names(xcr0)}"
        case Mapping() if set(value) <= set(XFeature):
            return f"{names(bitmap_of(value))} with content" if value else "empty"
        case int() if not isinstance(value, bool):
            return value_text(name, value)
        case _:
            text = str(value)
            return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _hazard(scenario: Scenario, host: HostProfile) -> list[str]:
    hazard = first_hazard(scenario, ModelRuns(host), DEFECTS)
    if hazard is None:
        return ["hazards: none, with any known defect"]
    ids = " and ".join(sorted(known_defects()[defect].id for defect in hazard.defects))
    return [f"hazard: with {ids}, step {hazard.step} kills the host: {hazard.reason}"]
