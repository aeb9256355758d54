"""What the second model says of one call: its result, and some bytes of its output."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.results.trace import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator


class Topic(StrEnum):
    """The rules that the second model knows."""

    XCR0 = "xcr0"
    XFD = "xfd"
    PERMISSION = "permission"
    XSTATE = "xstate"
    PKRU = "pkru"
    MXCSR = "mxcsr"


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of an output; ``mask`` has the bits that are known, all of them if it is empty."""

    topic: Topic
    offset: int
    value: bytes
    mask: bytes = b""

    def within(self, output: bytes) -> bytes:
        """Return the bytes that an output has here, with the known bits as they must be."""
        seen = output[self.offset : self.offset + len(self.value)]
        if not self.mask:
            return self.value
        triples = zip(seen, self.value, self.mask, strict=False)
        return bytes(s & ~m & 0xFF | v & m for s, v, m in triples)


@dataclass(frozen=True, slots=True)
class Opinion:
    """The results that are right, and the bytes; empty where the model does not know.

    :ivar topic: the rule that the result comes from
    """

    topic: Topic = Topic.XSTATE
    results: frozenset[int] = frozenset()
    parts: tuple[Part, ...] = field(default=())

    def objections(self, reply: Reply) -> Iterator[tuple[Topic, str]]:
        """Yield what is wrong in a reply, with the rule."""
        if self.results and reply.result not in self.results:
            yield self.topic, f"result {reply.result}, not {sorted(self.results)}"
            return
        for part in self._readable(reply):
            seen = reply.output[part.offset : part.offset + len(part.value)]
            wanted = part.within(reply.output)
            if seen != wanted:
                at = next(n for n, (s, w) in enumerate(zip(seen, wanted, strict=False)) if s != w)
                here = f"{seen[at : at + 8].hex()}, not {wanted[at : at + 8].hex()}"
                yield part.topic, f"byte {part.offset + at}: {here}"

    def topics(self, reply: Reply) -> Iterator[Topic]:
        """Yield the rule of each claim that can be compared with a reply."""
        if self.results:
            yield self.topic
        for part in self._readable(reply):
            yield part.topic

    def contrary(self, number: int, reply: Reply) -> tuple[Topic, Reply]:
        """Return the rule of one claim, and the reply with that claim false.

        :param number: the claim's place in what :meth:`topics` yields
        """
        if self.results:
            if number == 0:
                return self.topic, Reply(min(self.results) - 1, reply.output)
            number -= 1
        part = self.parts[number]
        output = bytearray(reply.output or b"")
        known = part.mask or b"\xff" * len(part.value)
        at = next(n for n, bits in enumerate(known) if bits)
        output[part.offset + at] ^= known[at]
        return part.topic, Reply(reply.result, bytes(output))

    def put_into(self, reply: Reply) -> Reply:
        """Return the reply with all that this opinion knows."""
        result = reply.result
        if self.results and result not in self.results:
            result = min(self.results)
        if reply.output is None or result < 0:
            return Reply(result, reply.output)
        output = bytearray(reply.output)
        for part in self.parts:
            output[part.offset : part.offset + len(part.value)] = part.within(reply.output)
        return Reply(result, bytes(output))

    def _readable(self, reply: Reply) -> Iterator[Part]:
        if reply.output is None or reply.result < 0:
            return
        yield from self.parts


NONE = Opinion()


def is_one_of(topic: Topic, *results: int) -> Opinion:
    """Return the opinion that a call has one of these results."""
    return Opinion(topic, frozenset(results))


def little(value: int, size: int) -> bytes:
    """Return an unsigned number as the processor stores it."""
    return value.to_bytes(size, "little")
