"""The result of a bisection: the kernels on both sides of the change, and what shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmprobe.reports.excerpt import failure_lines, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.search.bisection import Bisection, Seen

SCHEMA = "kvmprobe-bisection/1"


@dataclass(frozen=True, slots=True)
class Tried:
    """One kernel that was tested.

    :ivar reason: what it showed, or why it cannot be tested
    :ivar record: what shows it, if that is a scenario
    :ivar run: directory of its run, or empty
    """

    kernel: str
    seen: Seen
    reason: str
    record: ScenarioRecord | None = None
    run: str = ""

    @property
    def line(self) -> str:
        """The result in one line."""
        return printable(f"{self.kernel}: {self.seen.value}: {self.reason}")


def result_lines(
    found: Bisection, tested: Mapping[str, Tried], lacking: Sequence[str]
) -> Iterator[str]:
    """Yield which kernel is the first one with the change, and the evidence.

    :param tested: by kernel
    :param lacking: kernels of the range that have no KVM modules
    """
    if found.contradiction:
        end = tested[found.contradiction]
        yield printable(f"{end.kernel} was called otherwise: {end.seen.value}: {end.reason}")
        return
    older, newer = _sides(found)
    change = "fixed" if found.bad_first else "bad"
    between = found.untestable_between
    if between:
        yield f"the first {change} kernel is one of {', '.join((*between, newer))}"
        yield from (f"  {tested[kernel].line}" for kernel in between)
    else:
        yield f"{newer} is the first {change} packaged kernel, after {older}"
    for kernel in (older, newer):
        yield tested[kernel].line
        record = tested[kernel].record
        yield from (f"  {line}" for line in (failure_lines(record) if record is not None else ()))
    runs = [tested[kernel].run for kernel in (older, newer)]
    if all(runs):
        yield f"kvmprobe diff {' '.join(runs)}"
    if lacking:
        yield f"not tested, listed without their modules package: {', '.join(lacking)}"
    yield f"{len(tested)} of {len(found.rungs)} kernels were tested"


def result_json(
    found: Bisection, tested: Mapping[str, Tried], lacking: Sequence[str]
) -> dict[str, Any]:
    """Return the result as JSON-ready data."""
    older, newer = _sides(found)
    named = not found.contradiction
    return {
        "schema": SCHEMA,
        "kernels": list(found.rungs),
        "without_modules": list(lacking),
        "tested": [
            {"kernel": t.kernel, "seen": t.seen.value, "reason": t.reason, "run": t.run}
            for t in tested.values()
        ],
        "contradiction": found.contradiction,
        "change": "fixed" if found.bad_first else "bad",
        "before": older if named else "",
        "first": [*found.untestable_between, newer] if named else [],
    }


def _sides(found: Bisection) -> tuple[str, str]:
    pair = found.last_bad, found.first_good
    return pair if found.bad_first else (pair[1], pair[0])
