"""A guest's walk through hosts, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.reports.differences import shown

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from kvmprobe.execution.walking import Walk


def walk_lines(walk: Walk, seed: int) -> Iterator[str]:
    """Yield where the guest was, and whether it found all that it had."""
    yield f"seed {seed}, from {walk.start}: {len(walk.stops)} moves"
    yield f"  hosts: {_counts(walk.hosts)}"
    yield f"  orders: {_counts(walk.orders)}"
    yield f"  into: {_counts(walk.intos)}"
    yield f"  passed over {walk.passed_over} moves in which the guest would not go on as it was"
    if not walk.failure:
        yield "after each move the guest found all that it had, byte by byte"
        return
    yield f"move {len(walk.stops) + 1} failed: {walk.failure}"
    if walk.difference is not None:
        op, difference = walk.difference
        text = shown(difference)
        yield f"  {op.text}: expected {text.expected}, observed {text.observed}"


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
