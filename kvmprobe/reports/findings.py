"""What the checkers found, in few lines: how many of a kind, and what explains them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.reports.claims import finding_details
from kvmprobe.reports.excerpt import finding_head

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.results.record import ScenarioRecord, Target

_SHOWN_DETAILS = 6


def finding_lines(records: Iterable[ScenarioRecord]) -> Iterator[str]:
    """Yield a line a checker: ``order-independence: 96 pairs, O3; 12 pairs, O1``."""
    counts: dict[Target, dict[str, dict[str, int]]] = {}
    pairs: set[str] = set()
    for record in records:
        for finding in record.findings:
            if finding.other:
                pairs.add(finding.checker)
            of_checker = counts.setdefault(record.target, {}).setdefault(finding.checker, {})
            known = " and ".join(finding.known) or "not known"
            of_checker[known] = of_checker.get(known, 0) + 1
    for target, checkers in counts.items():
        yield ""
        yield f"found without the model on {target.description}"
        for checker, kinds in checkers.items():
            unit = "pair" if checker in pairs else "scenario"
            parts = "; ".join(
                f"{count} {unit}{'' if count == 1 else 's'}, {known}"
                for known, count in kinds.items()
            )
            yield f"  {checker}: {parts}"


def unexplained_lines(record: ScenarioRecord) -> list[str]:
    """Return what the checkers found in one scenario and no known defect explains."""
    lines: list[str] = []
    for finding in record.unexplained:
        lines += [f"  {line}" for line in finding_head(finding)]
        details = finding_details(finding)
        lines += [f"      {detail}" for detail in details[:_SHOWN_DETAILS]]
        if len(details) > _SHOWN_DETAILS:
            lines.append(f"      and {len(details) - _SHOWN_DETAILS} more differences")
    return lines
