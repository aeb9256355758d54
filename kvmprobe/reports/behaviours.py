"""What a kernel was found to do: variants, right either way, and defects, which are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Kind
from kvmprobe.results.known import known_defects

if TYPE_CHECKING:
    from kvmprobe.model.behaviours import Behaviour, Behaviours


def behaviour_lines(found: Behaviours, undetermined: Behaviours) -> list[str]:
    """Return each behaviour: what it is, what made or fixes it, the probe, what is right."""
    lines: list[str] = []
    for behaviour in sorted(found, key=_by_kind):
        lines += [
            f"  {behaviour.kind.value:8} {behaviour.name}: {behaviour.value.summary}",
            f"           source:  {behaviour.value.source}",
            f"           probe:   {behaviour.value.detection}",
            f"           right:   {_right(behaviour)}",
        ]
    lines += [
        f"  unknown  {b.name}: its probe's answer fits neither a kernel with it nor one without"
        for b in sorted(undetermined, key=_by_kind)
    ]
    return lines or ["  none of the named ones"]


def behaviour_data(found: Behaviours) -> dict[str, dict[str, str]]:
    """Return the same for a JSON document."""
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
        return "either way; this kernel's is what is expected of it"
    defect = known_defects()[behaviour]
    return f"a kernel without it; {defect.label()}: {defect.title}"


def _by_kind(behaviour: Behaviour) -> tuple[str, str]:
    return behaviour.kind.value, behaviour.name
