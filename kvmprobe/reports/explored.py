"""What a systematic search has seen, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.search.explored import Explored


def explored_lines(explored: Explored) -> list[str]:
    """Return the table of depths, then what was not made and why."""
    return [*_levels(explored), *_notes(explored)]


def _levels(explored: Explored) -> Iterator[str]:
    yield "calls before  states  transitions    made  seconds"
    for level in explored.levels:
        yield (
            f"{level.depth:12}  {level.states:6}  {level.transitions:11}  {level.made:6}  "
            f"{level.seconds:7.1f}"
        )


def _notes(explored: Explored) -> Iterator[str]:
    if explored.part and explored.parts > 1:
        yield f"part {explored.part} of {explored.parts} of the transitions"
    rate = explored.made / explored.seconds if explored.seconds else 0.0
    yield (
        f"{explored.made} of {explored.transitions} transitions in {explored.seconds:.1f} s "
        f"({rate:.0f} a second), on {explored.machines} forks; {explored.crashes} host crashes"
    )
    if not explored.complete:
        yield "time was up before every transition was made"
    if explored.behind_crash:
        yield f"{explored.behind_crash} transitions lie behind a crash of the host"
    if explored.open_states:
        yield (
            f"{explored.open_states} states read differently after different calls, in bits that "
            "are legal either way"
        )
    for call, why in explored.never.items():
        yield f"never possible: {call}: {why}"
