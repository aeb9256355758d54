"""The doctor's advice about a host as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.host.doctor.advice import Readiness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.host.doctor.advice import Advice


def doctor_lines(findings: Sequence[Advice]) -> list[str]:
    """Return a line for each finding, a line for its remedy, and the totals."""
    wide = max((len(advice.topic) for advice in findings), default=0)
    lines = ["readiness for an unattended run"]
    for advice in findings:
        lines.append(f"  {advice.readiness.value:13}  {advice.topic:{wide}}  {advice.finding}")
        if advice.remedy:
            lines.append(f"  {'':13}  {'':{wide}}  -> {advice.remedy}")
    counts = {kind: sum(advice.readiness is kind for advice in findings) for kind in Readiness}
    total = ", ".join(f"{count} {kind.value}" for kind, count in counts.items() if count)
    return [*lines, f"  {total}"]
