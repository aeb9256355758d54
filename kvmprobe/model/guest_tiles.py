"""AMX in a guest (SDM vol.1 ch. 18; vol.2 "AMX Instruction Exception Classes").

The instructions check CR4.OSXSAVE and XCR0, not the guest's CPUID, and not CR0.TS; those that use
tile data check IA32_XFD.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.errors import NotModelled
from kvmprobe.model.guest import Vector, disabled, instruction_rule
from kvmprobe.xstate.features import XTILE, XFeature
from kvmprobe.xstate.tiles import BYTES_PER_ROW, ROWS, TILES, configures, shapes

if TYPE_CHECKING:
    from kvmprobe.model.guest import Guest

CONFIGURATION_SIZE = 64
TILE_SIZE = ROWS * BYTES_PER_ROW
_WORD = 4


def valid(configuration: bytes) -> bool:
    """Return True if LDTILECFG accepts a configuration.

    :see: SDM vol.2 LDTILECFG
    """
    return configuration[0] == 0 or configures(configuration)


LDTILECFG = instruction_rule("LDTILECFG configures the tiles and clears them", "LDTILECFG")


def ldtilecfg(guest: Guest, configuration: bytes) -> Guest:
    """LDTILECFG: palette 0 takes both components to INIT; tile data becomes zero in any case.

    It does not use tile data, so IA32_XFD does not matter.

    :see: SDM vol.2 LDTILECFG
    """
    _require_enabled(guest)
    guest.require((valid(configuration), Vector.GP))
    if configuration[0] == 0:
        configuration = bytes(CONFIGURATION_SIZE)
    return _with_tiles(guest, configuration, bytes(TILES * TILE_SIZE))


STTILECFG = instruction_rule("STTILECFG stores the configuration", "STTILECFG")


def sttilecfg(guest: Guest) -> Guest:
    """STTILECFG: zeros where no tile is configured; IA32_XFD does not matter.

    :see: SDM vol.2 STTILECFG
    """
    _require_enabled(guest)
    return guest._replace(memory=guest.content(XFeature.XTILE_CFG))


TILERELEASE = instruction_rule("TILERELEASE returns both tile components to INIT", "TILERELEASE")


def tilerelease(guest: Guest) -> Guest:
    """TILERELEASE: both components become INIT; IA32_XFD does not matter.

    :see: SDM vol.2 TILERELEASE
    """
    _require_enabled(guest)
    return _with_tiles(guest, bytes(CONFIGURATION_SIZE), bytes(TILES * TILE_SIZE))


TILELOADD = instruction_rule("TILELOADD is #NM with XFD armed", "TILELOADD/TILELOADDT1", "INV-39")


def tileloadd(guest: Guest, tile: int, rows: bytes) -> Guest:
    """TILELOADD from rows of 64 bytes: what is outside the tile's shape becomes zero.

    :see: SDM vol.2 TILELOADD/TILELOADDT1
    """
    count, columns = _shape_in_use(guest, tile)
    content = b"".join(
        rows[at : at + columns].ljust(BYTES_PER_ROW, b"\0")
        for at in range(0, count * BYTES_PER_ROW, BYTES_PER_ROW)
    )
    return _with_tile(guest, tile, content.ljust(TILE_SIZE, b"\0"))


TILESTORED = instruction_rule("TILESTORED is #NM with XFD armed", "TILESTORED", "INV-39")


def tilestored(guest: Guest, tile: int, before: bytes) -> Guest:
    """TILESTORED over rows of 64 bytes that held ``before``: the tile's shape, and no more.

    :see: SDM vol.2 TILESTORED
    """
    count, columns = _shape_in_use(guest, tile)
    content, memory = _tile(guest, tile), bytearray(before)
    for at in range(0, count * BYTES_PER_ROW, BYTES_PER_ROW):
        memory[at : at + columns] = content[at : at + columns]
    return guest._replace(memory=bytes(memory))


TILEZERO = instruction_rule("TILEZERO is #NM with XFD armed", "TILEZERO", "INV-39")


def tilezero(guest: Guest, tile: int) -> Guest:
    """TILEZERO.

    :raises NotModelled: a row of the tile ends within a word
    :see: SDM vol.2 TILEZERO
    """
    _require_enabled(guest)
    _, columns = shapes(guest.content(XFeature.XTILE_CFG))[tile]
    if columns % _WORD:
        raise NotModelled("TILEZERO of a tile with rows that end within a word")
    _shape_in_use(guest, tile)
    return _with_tile(guest, tile, bytes(TILE_SIZE))


TDPBSSD = instruction_rule(
    "TDPBSSD adds products of signed bytes", "TDPBSSD/TDPBSUD/TDPBUSD/TDPBUUD"
)


def tdpbssd(guest: Guest) -> Guest:
    """TDPBSSD TMM0, TMM1, TMM2: products of signed bytes, added up in signed 32-bit words.

    :see: SDM vol.2 TDPBSSD/TDPBSUD/TDPBUSD/TDPBUUD
    """
    (rows, width), (left_rows, depth), (right_rows, right_width) = (
        _shape_in_use(guest, tile) for tile in range(3)
    )
    fits = (rows, width, depth) == (left_rows, right_width, 4 * right_rows)
    guest.require((fits, Vector.UD))
    left, right = _tile(guest, 1), _tile(guest, 2)
    sums = [list(row) for row in struct.iter_unpack("<16i", _tile(guest, 0))]
    for m in range(rows):
        for n in range(width // 4):
            for k in range(depth // 4):
                a = struct.unpack_from("4b", left, m * BYTES_PER_ROW + 4 * k)
                b = struct.unpack_from("4b", right, k * BYTES_PER_ROW + 4 * n)
                sums[m][n] += sum(x * y for x, y in zip(a, b, strict=True))
    words = [value & U32_MAX for row in sums for value in row]
    return _with_tile(guest, 0, struct.pack(f"<{len(words)}I", *words))


def _require_enabled(guest: Guest) -> None:
    enabled = guest.cr4_osxsave and guest.vcpu.xcr0 & XTILE == XTILE
    guest.require((enabled, Vector.UD))


def _shape_in_use(guest: Guest, tile: int) -> tuple[int, int]:
    """Return rows and bytes per row of a tile that an instruction is about to use."""
    _require_enabled(guest)
    rows, columns = shapes(guest.content(XFeature.XTILE_CFG))[tile]
    guest.require((rows and not columns % _WORD, Vector.UD))
    if guest.vcpu.xfd & XFeature.XTILE_DATA.bit:
        disabled(XFeature.XTILE_DATA.bit)
    return rows, columns


def _tile(guest: Guest, tile: int) -> bytes:
    return guest.content(XFeature.XTILE_DATA)[tile * TILE_SIZE :][:TILE_SIZE]


def _with_tile(guest: Guest, tile: int, content: bytes) -> Guest:
    data = guest.content(XFeature.XTILE_DATA)
    start = tile * TILE_SIZE
    whole = data[:start] + content + data[start + TILE_SIZE :]
    return guest.with_state({XFeature.XTILE_DATA: whole})


def _with_tiles(guest: Guest, configuration: bytes, data: bytes) -> Guest:
    return guest.with_state({XFeature.XTILE_CFG: configuration, XFeature.XTILE_DATA: data})
