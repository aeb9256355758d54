"""The review of a recording, or of its replay, as text."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from kvmprobe.reports.vmm_replay import sentence
from kvmprobe.reports.vmm_sentences import LISTED, plural
from kvmprobe.vmm.findings import Level
from kvmprobe.vmm.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmprobe.vmm.review import Review

_LINE = re.compile(r" \(line (\d+)\)")


def review_lines(review: Review, kernel: str) -> Iterator[str]:
    """Yield a review for a terminal: errors first, then what was not judged, then the counts.

    :param kernel: what was judged, in words
    """
    yield kernel
    order = list(Level)
    found = sorted(review.findings, key=lambda one: order.index(one.level))
    yield from _merged(
        f"  {one.level.value:8} {one.vcpu}: {sentence(one, kernel)}" for one in found
    )
    if review.left_out:
        yield f"  and {review.left_out} more"
    if isinstance(review, Replay):
        yield (
            "  guest memory is not in a recording: each slot has one page of zeros, and each "
            "KVM_RUN exits at once"
        )
        yield from _not_taken("not replayed", review.not_replayed)
        yield from _not_taken("not compared with the recording", review.not_compared)
    yield from _not_taken("not judged", review.not_judged)
    yield f"  {counts(review)}"


def counts(review: Review) -> str:
    """Return ``66 calls, 42 judged, 24 not; 1 error, 2 warnings, 0 notes``."""
    levels = Counter(finding.level for finding in review.findings)
    each = ", ".join(plural(levels[level], level.value) for level in Level)
    if isinstance(review, Replay):
        with_what = f"{review.compared} with the recording, {review.judged} with the model"
        compared = f"{review.replayed} replayed, compared {with_what}"
        return f"{plural(review.calls, 'call')}, {compared}; {each}"
    left = review.calls - review.judged
    return f"{plural(review.calls, 'call')}, {review.judged} judged, {left} not; {each}"


def _merged(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts that differ in the line of one call alone as one text."""
    lines_of: dict[tuple[str, ...], list[str]] = {}
    for text in texts:
        before, *line, after = _LINE.split(text) if len(_LINE.findall(text)) == 1 else (text, "")
        lines_of.setdefault((before, after), []).extend(line)
    for (before, after), lines in lines_of.items():
        more = f" and {len(lines) - LISTED} others" if len(lines) > LISTED else ""
        which = f"{'s' if len(lines) > 1 else ''} {', '.join(lines[:LISTED])}{more}"
        yield f"{before} (line{which}){after}" if lines else before


def _not_taken(what: str, calls_of: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """Yield a line for each reason why calls were not judged, compared or replayed.

    :param calls_of: by (call, reason), how many
    """
    by_reason: dict[str, list[str]] = defaultdict(list)
    for (call, why), number in sorted(calls_of.items()):
        by_reason[why].append(f"{call} {number}")
    for why, calls in by_reason.items():
        more = f", and {len(calls) - LISTED} other calls" if len(calls) > LISTED else ""
        yield f"  {what}, as {why}: {', '.join(calls[:LISTED])}{more}"
