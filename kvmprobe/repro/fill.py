"""Writes the C statements that put given bytes over zeros; known patterns become named calls."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.repro.constants import REGIONS
from kvmprobe.repro.ctext import bitmap, byte_list, number
from kvmprobe.xstate import patterns
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.image import place_of
from kvmprobe.xstate.layout import EXTENDED_OFFSET, X87_REGISTERS, Layout
from kvmprobe.xstate.tiles import tile_configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD, _GAP, _LEAST_RUN = 4, 8, 16
_LEAST_COUNTED = 4


@dataclass(frozen=True, slots=True)
class _Place:
    """A part of the content, and the C name of its offset."""

    name: str
    span: range


def statements(content: bytes, to: str, layout: Layout | None = None) -> list[str]:
    """Return the statements that write ``content`` over the zeros at ``to``.

    :param layout: layout of the content if it is an XSAVE image; not used if it is shorter than one
    """
    if layout is None or len(content) < EXTENDED_OFFSET:
        return _plain(content, 0, to)
    lines: list[str] = []
    done = 0
    for place in sorted(_places(layout, len(content)), key=lambda p: p.span.start):
        lines += _plain(content[done : place.span.start], done, to)
        part = content[place.span.start : place.span.stop]
        lines += _component(part, place, to) if any(part) else []
        done = place.span.stop
    return lines + _plain(content[done:], done, to)


def component_name(nr: int) -> str:
    """Return the constant for a component's offset in an image."""
    known = nr in set(XFeature)
    return f"XSAVE_{XFeature(nr).name if known else f'COMPONENT_{nr}'}"


def _places(layout: Layout, size: int) -> Iterator[_Place]:
    for name, span in REGIONS.items():
        yield _Place(name, span)
    for component in layout.components:
        if component.end <= size:
            yield _Place(component_name(component.nr), place_of(component.nr, layout)[0])


def _component(part: bytes, place: _Place, to: str) -> list[str]:
    where = f"{to} + {place.name}"
    if place.name == "XSAVE_XSTATE_BV":
        return [f"put_u64({where}, {bitmap(int.from_bytes(part, 'little'))});"]
    if len(part) in {2, 4, 8}:
        width = 8 * len(part) if len(part) < 8 else 64 if any(part[4:]) else 32
        return [f"put_u{width}({where}, {number(int.from_bytes(part, 'little'))});"]
    if part == _ST_REGISTERS:
        return [f"put_st_registers({to});"]
    if part == tile_configuration():
        return [f"put_tile_configuration({where});"]
    return _plain(part, 0, where)


def _plain(content: bytes, first: int, to: str) -> list[str]:
    lines: list[str] = []
    for start, stop in _runs(content):
        lines += _run(content[start:stop], first + start, to)
    return lines


def _runs(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the ranges of nonzero words; a short range of zeros does not end a run."""
    start = stop = -1
    for word in range(0, len(content), _WORD):
        if not any(content[word : word + _WORD]):
            continue
        if start >= 0 and word - stop >= _GAP:
            yield start, stop
            start = word
        start = word if start < 0 else start
        stop = min(word + _WORD, len(content))
    if start >= 0:
        yield start, stop


def _run(content: bytes, offset: int, to: str) -> list[str]:
    where = f"{to} + {number(offset)}" if offset else to
    if len(content) >= _LEAST_RUN and len(set(content)) == 1:
        return [f"memset({where}, {content[0]:#x}, {len(content)});"]
    words = struct.unpack(f"={len(content) // _WORD}I", content[: len(content) // _WORD * _WORD])
    counted = _counted(words)
    if counted:
        rest = content[_WORD * counted :]
        lines = [f"put_counted({where}, {words[0]:#x}, {counted});"]
        return lines + (_plain(rest, offset + _WORD * counted, to) if rest else [])
    if len(content) == _WORD * len(words) <= _LEAST_RUN:
        return [
            f"put_u32({to} + {number(offset + _WORD * place)}, {number(word)});"
            for place, word in enumerate(words)
            if word
        ]
    if len(content) <= _LEAST_RUN:
        listed = ", ".join(f"{byte:#04x}" for byte in content)
        return [f"memcpy({where}, (const uint8_t[]){{ {listed} }}, {len(content)});"]
    return [
        f"memcpy({where}, (const uint8_t[]){{",
        byte_list(content, "\t"),
        f"}}, {len(content)});",
    ]


def _counted(words: tuple[int, ...]) -> int:
    """Return the number of words at the start that count up by one; 0 if too few."""
    count = 1
    while count < len(words) and words[count] == words[count - 1] + 1:
        count += 1
    return count if count >= _LEAST_COUNTED else 0


_ST_REGISTERS = patterns.content(XFeature.FP, Layout(()))[-len(X87_REGISTERS) :]
