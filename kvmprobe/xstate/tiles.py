"""The 64 bytes of TILECFG (SDM vol.1 §18.1 "Intel AMX Introduction"; vol.2 LDTILECFG)."""

from __future__ import annotations

import struct

PALETTE = 1
TILES = 8
ROWS = 16
BYTES_PER_ROW = 64


def tile_configuration() -> bytes:
    """Return palette 1 with 16 rows of 64 bytes, the maximum, for each tile."""
    columns = struct.pack("=16H", *([BYTES_PER_ROW] * TILES + [0] * (16 - TILES)))
    rows = bytes([ROWS] * TILES + [0] * (16 - TILES))
    return bytes([PALETTE, 0]) + bytes(14) + columns + rows


def is_certainly_valid(configuration: bytes) -> bool:
    """Return True if LDTILECFG accepts it and each tile has its maximum size.

    Other configurations may be valid, but with smaller tiles.
    """
    columns = struct.unpack("=16H", configuration[16:48])
    sizes = set(zip(columns[:TILES], configuration[48 : 48 + TILES], strict=True))
    reserved = configuration[2:16] + configuration[32:48] + configuration[56:64]
    head = tuple(configuration[:2])
    return head == (PALETTE, 0) and sizes == {(BYTES_PER_ROW, ROWS)} and not any(reserved)
