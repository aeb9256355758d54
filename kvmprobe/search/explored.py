"""What a systematic search of one kernel has seen, as data: ``explore.json`` in its directory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence  # noqa: TC003 - a reader of JSON looks at the hints
from dataclasses import asdict, dataclass, replace

from kvmprobe.errors import ScenarioError
from kvmprobe.results.codec import from_json

FORMAT = "kvmprobe explore 2"
EXPLORED = "explore.json"


@dataclass(frozen=True, slots=True)
class Level:
    """The transitions that leave the states of one depth.

    :ivar states: states that are entered with so many calls, and not with fewer
    :ivar transitions: how many transitions leave them
    :ivar made: how many of those were made
    :ivar seconds: from the beginning until the last of them was made
    """

    depth: int
    states: int
    transitions: int
    made: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Find:
    """A failure.

    :ivar name: id of the scenario that shows it
    :ivar signature: what identifies it
    :ivar known: ids of the known defects that explain it
    :ivar transitions: how many transitions show it
    """

    name: str
    signature: str
    known: tuple[str, ...]
    transitions: int


@dataclass(frozen=True, slots=True)
class Explored:
    """What has been seen.

    :ivar kernel: its release
    :ivar start: name of the state that the search started from
    :ivar part: which part of the transitions this is, 1 to ``parts``; 0 for several together
    :ivar calls: the calls that are made in each state
    :ivar never: calls that are possible in no state, and why
    :ivar open_states: states that read differently after different calls, in bits that are legal
        either way
    :ivar behind_crash: transitions that were not made because the host died before
    :ivar complete: False if time was up before every transition was made
    """

    kernel: str
    start: str
    part: int
    parts: int
    calls: tuple[str, ...]
    levels: tuple[Level, ...]
    never: Mapping[str, str]
    open_states: int
    behind_crash: int
    machines: int
    crashes: int
    seconds: float
    complete: bool
    finds: tuple[Find, ...] = ()

    @property
    def made(self) -> int:
        """How many transitions were made."""
        return sum(level.made for level in self.levels)

    @property
    def transitions(self) -> int:
        """How many there are."""
        return sum(level.transitions for level in self.levels)

    def to_json(self) -> str:
        """Return it as the content of ``explore.json``."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def of(cls, text: str) -> Explored:
        """Read what :meth:`to_json` wrote.

        :raises ScenarioError: it is something else
        """
        try:
            data = json.loads(text)
            if data.pop("format") != FORMAT:
                raise ScenarioError(f"{EXPLORED}: not in the format {FORMAT!r}")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ScenarioError(f"{EXPLORED}: {error!r:.200}") from error
        return from_json(Explored, data)


def together(parts: Sequence[Explored]) -> Explored:
    """Return what different parts of the transitions of one graph have shown, without the finds."""
    first = parts[0]
    return replace(
        first,
        part=0 if len(parts) > 1 else first.part,
        levels=tuple(map(_level, zip(*(part.levels for part in parts), strict=True))),
        open_states=sum(part.open_states for part in parts),
        behind_crash=sum(part.behind_crash for part in parts),
        machines=sum(part.machines for part in parts),
        crashes=sum(part.crashes for part in parts),
        seconds=max(part.seconds for part in parts),
        complete=len(parts) == first.parts and all(part.complete for part in parts),
        finds=(),
    )


def _level(parts: Sequence[Level]) -> Level:
    return Level(
        parts[0].depth,
        sum(part.states for part in parts),
        sum(part.transitions for part in parts),
        sum(part.made for part in parts),
        max(part.seconds for part in parts),
    )
