"""Bytes as text in the worker's facts.

A file of its own: what the worker imports costs boot time on the emulated host.
"""

from __future__ import annotations

import base64
import zlib

# Bytes: a CPUID table has 10 KB.
_MOST = 1 << 20


def pack(content: bytes | bytearray) -> str:
    """Encode bytes for a line of JSON."""
    return base64.b64encode(zlib.compress(content, 1)).decode()


def unpack(text: str) -> bytes:
    """Decode what :func:`pack` encoded; never more than _MOST bytes are decompressed.

    :raises ValueError: it is something else
    """
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(base64.b64decode(text), _MOST)
    except zlib.error as error:
        raise ValueError(f"packed bytes are damaged: {error}") from None
    if not decompressor.eof:
        raise ValueError(f"packed bytes are truncated, or more than {_MOST}")
    return content
