"""How many findings each checker has, and which known defects explain them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.results.record import ScenarioRecord, Target


def finding_counts(records: Iterable[ScenarioRecord]) -> Iterator[str]:
    """Yield one line for each checker: ``order-independence: 96 pairs, O3; 12 pairs, O1``."""
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
