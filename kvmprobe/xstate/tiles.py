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


def shapes(configuration: bytes) -> tuple[tuple[int, int], ...]:
    """Return rows, and bytes of each, of every tile."""
    columns = struct.unpack_from("=8H", configuration, 16)
    return tuple(zip(configuration[48 : 48 + TILES], columns, strict=True))


def configures(configuration: bytes) -> bool:
    """Return True if LDTILECFG accepts it, and configures tiles.

    :see: SDM vol.2 LDTILECFG, which does not check ``start_row``
    """
    return (
        configuration[0] == PALETTE
        and not any(configuration[2:16] + configuration[32:48] + configuration[56:])
        and all(
            rows <= ROWS and columns <= BYTES_PER_ROW and bool(rows) == bool(columns)
            for rows, columns in shapes(configuration)
        )
    )


def inside_shapes(configuration: bytes, tiles: bytes) -> bool:
    """Return True if tile data has only zeros where no configured tile is.

    :param tiles: XTILEDATA: each tile has 16 rows of 64 bytes
    :see: SDM vol.2 TILELOADD/TILELOADDT1, which clears the rest of a tile
    """
    size = ROWS * BYTES_PER_ROW
    for tile, (rows, columns) in enumerate(shapes(configuration)):
        for row in range(ROWS):
            start = tile * size + row * BYTES_PER_ROW
            used = columns if row < rows else 0
            if any(tiles[start + used : start + BYTES_PER_ROW]):
                return False
    return True
