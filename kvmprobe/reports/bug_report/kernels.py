"""The affected and unaffected kernels, tested or known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.reports.bug_report.case import Outcome
from kvmprobe.reports.bug_report.text import item, paragraph
from kvmprobe.results.releases import release_of, series_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.reports.bug_report.case import Case, Seen


def kernel_lines(case: Case) -> list[str]:
    """Return affected and unaffected kernels, the fix, and the range of a regression."""
    lines = []
    for name, seen in _groups(case):
        lines += item(f"{name}: {', '.join(dict.fromkeys(s.record.target.release for s in seen))}")
    if len(case.seen) > 1 and not any(s.outcome is Outcome.BEHAVES for s in case.seen):
        lines += item(f"{Outcome.BEHAVES.value}: none of the tested kernels")
    for defect in case.defects:
        if defect.fixed_in:
            lines += item(f"fixed in {', '.join(defect.fixed_in)} by {defect.reference}")
    return [*lines, *_change(case)]


def _groups(case: Case) -> Iterator[tuple[str, list[Seen]]]:
    """Yield a heading and the kernels with that outcome on that kind of target."""
    for outcome in Outcome:
        for kind in dict.fromkeys(s.record.target.kind for s in case.seen):
            at = [s for s in case.seen if (s.outcome, s.record.target.kind) == (outcome, kind)]
            where = " (emulated host)" if kind == "lab" else ""
            dead = [s for s in at if s.record.crash]
            alive = [s for s in at if not s.record.crash]
            gated = ", not run to the panic" if outcome is Outcome.SAME and case.host_dies else ""
            if dead:
                yield f"{outcome.value}, host panics{where}", dead
            if alive:
                yield f"{outcome.value}{gated}{where}", alive


def _change(case: Case) -> list[str]:
    """Return the last good and the first bad of the kernels tested on such a host."""
    target = case.record.target
    reported = release_of(target.kernel)
    alike = [s for s in case.seen if s.record.target.variant == target.variant]
    # A kernel with the fix does not show when the defect was introduced.
    good = [
        s
        for s in alike
        if s.outcome is Outcome.BEHAVES and not any(d.is_fixed_in(s.kernel) for d in case.defects)
    ]
    bad = [s for s in alike if s.outcome is Outcome.SAME]
    last_good = _newest(s for s in good if release_of(s.kernel) < reported)
    if last_good is None or not reported:
        return []
    after = release_of(last_good.kernel)
    first_bad = min((s for s in bad if release_of(s.kernel) > after), key=_release)
    text = f"Regression: last good {last_good.kernel}, first bad {first_bad.kernel}, as tested."
    if series_of(last_good.kernel) != series_of(first_bad.kernel):
        text += "  They are from different series, and stable kernels get backported fixes."
    return ["", *paragraph(text)]


def _newest(seen: Iterable[Seen]) -> Seen | None:
    return max(seen, key=_release, default=None)


def _release(seen: Seen) -> tuple[int, ...]:
    return release_of(seen.kernel)
