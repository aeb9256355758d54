"""Damages what parsers read: members of JSON get other values, go or come twice; so do bytes."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from kvmprobe.recordings.lines import PayloadLine
from kvmprobe.recordings.payloads import pack, unpack
from kvmprobe.results.codec import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

_DEEP = "DEEP"
_TELLING = b"\0\xff0179-:.#[]{}\"'= \n"
# Values at the limits of what parsers and their callers take.
ODD: list[Any] = [
    *(None, True, False, "", [], {}, [[]], [None], [0], [""], {"": None}, _DEEP),
    *(0, -1, 1, 2, 31, 63, 64, 4095, 4096, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64),
    *(-(2**63), -(2**64)),
    *(10**400, 1e308, float("inf"), float("nan"), 0.5),
    *("\0", "x", "../../etc/passwd", "/etc/passwd", "\x1b[2J", "\ud800", "a\nb", "é", "٣", "²"),
    *("0" * 64, "0x" + "f" * 4000, "9" * 5000, "-1", "1_0", "0x10", "a.b", "vcpu1", "x" * 70_000),
]


def damaged(content: bytes, random: Random) -> bytes:
    """Return JSON with other members, if it is JSON, or other bytes."""
    if random.random() < 0.6 and (changed := damaged_json(content, random)) is not None:
        return changed
    damage = bytearray(content)
    for _ in range(random.randint(1, 5)):
        start = random.randrange(len(damage) + 1)
        end = min(start + random.randint(0, 40), len(damage))
        new = random.choice((b"", damage[start:end] * 2, random.randbytes(random.randint(1, 20))))
        damage[start:end] = random.choice((new, bytes(random.choices(_TELLING, k=3))))
    return bytes(damage)


def damaged_json(content: bytes, random: Random) -> bytes | None:
    """Return JSON, or lines of JSON, with some damage; None if it is neither."""
    try:
        return _text(_damaged(json.loads(content), random))
    except (ValueError, RecursionError):
        pass
    lines = content.split(b"\n")
    places = [number for number, line in enumerate(lines) if line.startswith(b"{")]
    if not places:
        return None
    for _ in range(random.randint(1, 3)):
        place = random.choice(places)
        kind = random.randrange(8)
        if kind == 0:
            lines[place : place + 1] = []
            return b"\n".join(lines)
        if kind == 1:
            lines.insert(random.randrange(len(lines)), lines[place])
            return b"\n".join(lines)
        try:
            lines[place] = _text(_damaged(json.loads(lines[place]), random))
        except (ValueError, RecursionError):
            return None
    return b"\n".join(lines)


def _text(data: Any) -> bytes:
    nested = "[" * 3000 + "]" * 3000
    return json.dumps(data).replace(f'"{_DEEP}"', nested).encode()


def _damaged(data: Any, random: Random) -> Any:
    damage = copy.deepcopy(data)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        places = [*_places(damage)]
        if not places:
            return copy.deepcopy(random.choice(ODD))
        inside, last = random.choice(places)
        if isinstance(inside[last], dict) and {"hash", "size", "data"} <= inside[last].keys():
            inside[last] |= _payload(inside[last], random)
            continue
        match random.randrange(6):
            case 0:
                del inside[last]
            case 1:
                place, name = random.choice(places)
                if name in place if isinstance(place, dict) else name < len(place):
                    inside[last] = copy.deepcopy(place[name])
            case 2 if isinstance(inside, list):
                inside.insert(last, copy.deepcopy(inside[last]))
            case 3 if type(inside[last]) is int:
                inside[last] += random.choice((-1, 1, 1 << random.randrange(64)))
            case 3 if isinstance(inside[last], str) and inside[last]:
                text = inside[last]
                at = random.randrange(len(text))
                inside[last] = text[:at] + random.choice(("", "0", "f", text[at:])) + text[at + 1 :]
            case _:
                inside[last] = copy.deepcopy(random.choice(ODD))
    return damage


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the container and the key of each member."""
    inside = data if isinstance(data, dict | list) else ()
    for name, member in inside.items() if isinstance(inside, dict) else enumerate(inside):
        yield data, name
        yield from _places(member)


def _payload(line: dict[str, Any], random: Random) -> dict[str, Any]:
    """Return a payload of other bytes whose hash is right."""
    try:
        content = bytearray(unpack(PayloadLine(line["hash"], line["size"], line["data"])))
    except (ValueError, TypeError, AttributeError):
        return {}
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(content) + 1)
        match random.randrange(3):
            case 0:
                content[at : at + random.randint(0, 64)] = b""
            case 1:
                longer = random.randbytes(random.randint(0, 64))
                content[at : at + 8] = random.choice(
                    (bytes(8), b"\xff" * 8, random.randbytes(8), longer)
                )
            case _ if at < len(content):
                content[at] ^= 1 << random.randrange(8)
    return to_json(PayloadLine, pack(bytes(content)))
