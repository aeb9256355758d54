"""A host's facts as lines of text, for `probe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmprobe.reports.entries import entry_lines
from kvmprobe.reports.host_facts import host_facts
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COLUMN = 28


def fact_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for each fact, by topic, then the components of the processor's XSTATE."""
    for topic, of_topic in host_facts(facts).items():
        yield topic
        yield from entry_lines({name: text for name, (text,) in of_topic.items()}, _COLUMN)
    yield "component of XSTATE             offset   size"
    for number, place in facts["cpu"]["components"].items():
        known = int(number) in set(XFeature)
        name = XFeature(int(number)).name if known else "?"
        marks = [mark for mark in ("supervisor", "aligned", "xfd") if place[mark]]
        where = f"{place['offset']:6} {place['size']:6}"
        yield f"    {int(number):2} {name:24} {where}  {' '.join(marks)}".rstrip()
