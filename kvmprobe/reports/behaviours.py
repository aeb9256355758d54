"""The behaviours of a kernel: variants, which are all correct, and defects, which are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Kind
from kvmprobe.results.known import known_defects

if TYPE_CHECKING:
    from kvmprobe.model.behaviours import Behaviour, Behaviours


def behaviour_lines(found: Behaviours, undetermined: Behaviours) -> list[str]:
    """Return the lines for each behaviour: summary, source, probe, and what is correct."""
    lines: list[str] = []
    for behaviour in sorted(found, key=_by_kind):
        lines += [
            f"  {behaviour.kind.value:8} {behaviour.name}: {behaviour.value.summary}",
            f"           source:  {behaviour.value.source}",
            f"           probe:   {behaviour.value.detection}",
            f"           right:   {_right(behaviour)}",
        ]
    lines += [
        f"  unknown  {b.name}: the reply to its probe fits no kernel, with it or without"
        for b in sorted(undetermined, key=_by_kind)
    ]
    return lines or ["  none"]


def behaviour_data(found: Behaviours) -> dict[str, dict[str, str]]:
    """Return the behaviours for a JSON document."""
    return {
        behaviour.name: {
            "kind": behaviour.kind.value,
            "summary": behaviour.value.summary,
            "source": behaviour.value.source,
            "detection": behaviour.value.detection,
            "right": _right(behaviour),
        }
        for behaviour in sorted(found, key=_by_kind)
    }


def _right(behaviour: Behaviour) -> str:
    if behaviour.kind is Kind.VARIANT:
        return "with or without it; kvmprobe expects what this kernel does"
    defect = known_defects()[behaviour]
    return f"a kernel without it; {defect.label()}: {defect.title}"


def _by_kind(behaviour: Behaviour) -> tuple[str, str]:
    return behaviour.kind.value, behaviour.name
