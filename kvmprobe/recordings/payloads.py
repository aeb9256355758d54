"""Payloads: packing, unpacking within bounds, and the window of those that lines may refer to."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections import OrderedDict

from kvmprobe.abi.recorder import MOST_PAYLOAD
from kvmprobe.recordings.lines import PayloadLine
from kvmprobe.recordings.schema import WINDOW

_DIGITS = 32


def name_of(content: bytes) -> str:
    """Return the name by which lines refer to these bytes."""
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def pack(content: bytes) -> PayloadLine:
    """Return the line of a payload."""
    data = base64.b64encode(zlib.compress(content, 6)).decode()
    return PayloadLine(name_of(content), len(content), data)


def unpack(line: PayloadLine) -> bytes:
    """Return a payload's bytes; never more than MOST_PAYLOAD are decompressed.

    :raises ValueError: it is not what it says; the message says what was expected
    """
    if not 0 <= line.size <= MOST_PAYLOAD:
        raise ValueError(f"size: expected at most {MOST_PAYLOAD} bytes, not {line.size}")
    try:
        packed = base64.b64decode(line.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"data: expected base64: {error}") from None
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(packed, line.size + 1)
    except zlib.error as error:
        raise ValueError(f"data: expected a zlib stream: {error}") from None
    if len(content) != line.size or not decompressor.eof or decompressor.unused_data:
        raise ValueError(f"data: expected a zlib stream of {line.size} bytes and no more")
    if name_of(content) != line.hash:
        raise ValueError(f"hash: expected {name_of(content)}, the SHA-256 of data")
    return content


class Window:
    """The last WINDOW payloads, for writing and for reading."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def add(self, name: str, content: bytes) -> None:
        """Append a payload; the oldest one leaves a full window."""
        self._kept[name] = content
        self._kept.move_to_end(name)
        if len(self._kept) > WINDOW:
            self._kept.popitem(last=False)

    def __contains__(self, name: object) -> bool:
        return name in self._kept

    def __getitem__(self, name: str) -> bytes:
        """Return a payload.

        :raises KeyError: it is not in the window
        """
        return self._kept[name]
