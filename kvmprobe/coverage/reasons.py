"""Why blocks are not reached: ``reasons.toml``.

A reason names blocks by what they are, so that it holds for other kernels as well; where that is
not possible, by their place in one kernel.  It covers also what depends on these blocks alone.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from iced_x86 import Mnemonic

from kvmprobe.coverage.scope import source_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmprobe.coverage.disassembly import Disassembly
    from kvmprobe.coverage.graph import Graph
    from kvmprobe.coverage.measured import Measured

REASONS_FILE = Path(__file__).with_name("reasons.toml")


class Kind(Enum):
    """What a block is, apart from its function and what it calls."""

    ANY = "any"
    TRAP = "trap"
    """It ends with UD2: the kernel checks for a bug of its own (WARN, BUG)."""
    NO_ENTRY = "no entry"
    """No branch leads there in the text as it was patched at boot: a static key that is off, an
    alternative for another CPU, or an entry of the exception table."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason; a block has to match all that is given.

    :ivar text: the reason, for people
    :ivar functions: patterns of names in C
    :ivar calls: patterns of what the block calls; any if empty
    :ivar near: patterns of what is called first from the block on
    :ivar never: no block that matches can execute, so that one that was reached refutes the reason
    :ivar decided_by: regular expression for one of the two last instructions of a block before
    :ivar contains: regular expression for an instruction of the block
    :ivar at: by kernel, places as :meth:`Disassembly.place` gives them; any if empty
    """

    text: str
    functions: tuple[str, ...] = ("*",)
    calls: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    never: bool = False
    kind: Kind = Kind.ANY
    decided_by: str = ""
    contains: str = ""
    at: Mapping[str, Sequence[str]] = field(default_factory=dict)


@cache
def reasons() -> tuple[Reason, ...]:
    """Read ``reasons.toml``."""
    listed = tomllib.loads(REASONS_FILE.read_text(encoding="utf-8"))["reason"]
    return tuple(
        Reason(
            each["text"],
            tuple(each.get("functions", ("*",))),
            tuple(each.get("calls", ())),
            tuple(each.get("near", ())),
            each.get("never", False),
            Kind(each.get("kind", "any")),
            each.get("decided_by", ""),
            each.get("contains", ""),
            each.get("at", {}),
        )
        for each in listed
    )


@dataclass(frozen=True, slots=True)
class Explained:
    """The reasons of one kernel's blocks.

    :ivar direct: blocks that match a reason themselves, by number; also those that were reached
    :ivar reason: the reason of each unreached block that has one
    """

    direct: Mapping[int, Reason]
    reason: Mapping[int, Reason]

    @classmethod
    def of(cls, measured: Measured, kernel: str, listed: Sequence[Reason] | None = None) -> Self:
        """Apply reasons to what was measured on ``kernel``, which is its upstream version."""
        matcher = _Matcher(measured, kernel)
        direct: dict[int, Reason] = {}
        reason: dict[int, Reason] = {}

        def unreached(number: int) -> bool:
            return not measured.reached >> number & 1 and number not in reason

        for each in reasons() if listed is None else listed:
            matching = set(matcher.blocks(each))
            direct |= dict.fromkeys(matching - direct.keys(), each)
            own = set(filter(unreached, matching))
            # What is explained already counts when looking for blocks that depend on these alone.
            spread = measured.graph.spread(own | reason.keys(), unreached)
            reason |= dict.fromkeys(spread - reason.keys(), each)
        return cls(direct, reason)

    def contradicted(self, measured: Measured) -> list[int]:
        """Return the blocks that can never execute by their reason, and were reached."""
        return [
            number
            for number, reason in sorted(self.direct.items())
            if measured.reached >> number & 1 and reason.never
        ]


class _Matcher:
    def __init__(self, measured: Measured, kernel: str) -> None:
        self._measured = measured
        self._kernel = kernel
        self._text: Disassembly = measured.disassembly
        self._graph: Graph = measured.graph
        self._lines = [self._text.lines(block) for block in measured.blocks]
        self._names = [source_name(block.function.symbol) for block in measured.blocks]

    def blocks(self, reason: Reason) -> Iterator[int]:
        for number, name in enumerate(self._names):
            if any(fnmatchcase(name, each) for each in reason.functions) and self._matches(
                number, reason
            ):
                yield number

    def _matches(self, number: int, reason: Reason) -> bool:
        block = self._measured.blocks[number]
        return (
            self._is(number, reason.kind)
            and _names(self._text.called(block), reason.calls)
            and (not reason.near or _names(self._text.nearest_call(number), reason.near))
            and (not reason.contains or _any(reason.contains, self._lines[number]))
            and (not reason.decided_by or self._decided_by(number, reason.decided_by))
            and (not reason.at or self._text.place(block) in reason.at.get(self._kernel, ()))
        )

    def _is(self, number: int, kind: Kind) -> bool:
        block = self._measured.blocks[number]
        match kind:
            case Kind.ANY:
                return True
            case Kind.TRAP:
                return block.last.mnemonic == Mnemonic.UD2
            case Kind.NO_ENTRY:
                return not self._graph.before[number] and block.start != block.function.address

    def _decided_by(self, number: int, pattern: str) -> bool:
        return any(_any(pattern, self._lines[each][-2:]) for each in self._graph.before[number])


def _names(symbol: str, patterns: Sequence[str]) -> bool:
    """Return True if a symbol's function is among the patterns, or if there are none."""
    return not patterns or any(fnmatchcase(source_name(symbol), each) for each in patterns)


def _any(pattern: str, lines: Sequence[str]) -> bool:
    return any(re.search(pattern, line) for line in lines)
