"""Simpler values of op fields: towards zero, the first member, and nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from kvmprobe.scenarios.literal_fields import Bytes
from kvmprobe.scenarios.op_fields import Choice, Items, Members, Number, Row, kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.scenarios.op_fields import Kind
    from kvmprobe.scenarios.ops import Op

# Bits of a number that are tried one by one.
_MOST_BITS = 12


def simplest_ops(op: Op) -> Iterator[Op]:
    """Yield the op with one of its fields as simple as it can be."""
    for alternatives in _by_field(op):
        yield from islice(alternatives, 1)


def simpler_ops(op: Op) -> Iterator[Op]:
    """Yield the op with one of its fields simpler, the simplest values of each field first."""
    for alternatives in _by_field(op):
        yield from alternatives


def _by_field(op: Op) -> Iterator[Iterator[Op]]:
    for field, kind in kinds(type(op)).items():
        value = getattr(op, field)
        simpler = dict.fromkeys(simple for simple in _simpler(kind, value) if simple != value)
        yield (replace(op, **{field: simple}) for simple in simpler)  # type: ignore[type-var]


def _simpler(kind: Kind, value: Any) -> Iterator[Any]:  # noqa: ANN401 - any field's
    match kind:
        case Number():
            yield from _numbers(value)
        case Choice():
            yield from kind.members[: kind.members.index(value)]
        case Row():
            yield from _one_simpler(kind.kinds, value)
        case Members():
            yield from _shorter(value)
            for place, (name, number) in enumerate(value):
                for simple in _numbers(number):
                    yield (*value[:place], (name, simple), *value[place + 1 :])
        case Items():
            yield from _shorter(value)
            yield from _one_simpler([kind.item] * len(value), value)
        case Bytes(least):
            yield from _contents(value, least)
        case _:
            # Names.
            return


def _numbers(value: int) -> Iterator[int]:
    """Yield zero, the value's bits alone, and the value without one of them."""
    if not value:
        return
    yield 0
    bits = [1 << nr for nr in range(value.bit_length()) if value >> nr & 1]
    if len(bits) == 1:
        return
    yield from bits[:_MOST_BITS]
    for bit in (*bits[-_MOST_BITS:], *bits[:-_MOST_BITS][:_MOST_BITS]):
        yield value & ~bit
    yield value & 0xFFFF
    yield value & 0xFFFF_FFFF


def _shorter(items: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield nothing, each half, and the items without one of them."""
    if not items:
        return
    yield ()
    half = len(items) // 2
    if half > 1:
        yield items[:half]
        yield items[half:]
    for place in range(min(len(items), _MOST_BITS)):
        yield (*items[:place], *items[place + 1 :])


def _one_simpler(item_kinds: Sequence[Kind], items: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for place, (kind, item) in enumerate(zip(item_kinds[:_MOST_BITS], items, strict=False)):
        for simple in _simpler(kind, item):
            yield (*items[:place], simple, *items[place + 1 :])


def _contents(content: bytes, least: int) -> Iterator[bytes]:
    """Yield the fewest bytes, zeros, and the content with a half of it zero."""
    for simple in (content[:least], bytes(len(content))):
        if simple.count(0) > content.count(0) or len(simple) < len(content):
            yield simple
    size = len(content)
    while size > 1:
        size //= 2
        for start in range(0, len(content), size):
            if any(content[start : start + size]):
                yield content[:start] + bytes(size) + content[start + size :]
        if len(content) // size >= _MOST_BITS:
            return
