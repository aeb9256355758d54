"""Bytes as text in the worker's facts.

A file of its own: what the worker imports costs boot time on the emulated host.
"""

from __future__ import annotations

import base64
import zlib


def pack(content: bytes | bytearray) -> str:
    """Encode bytes for a line of JSON."""
    return base64.b64encode(zlib.compress(content, 1)).decode()


def unpack(text: str) -> bytes:
    """Decode what :func:`pack` encoded."""
    return zlib.decompress(base64.b64decode(text))
