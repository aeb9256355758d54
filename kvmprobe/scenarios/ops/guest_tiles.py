"""The guest configures, loads and stores tiles."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import Annotated

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.payload import PayloadOp, Registers
from kvmprobe.model import guest_tiles
from kvmprobe.model.guest_tiles import TILE_SIZE
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.op_fields import Name, Number
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.guest import Execution, FixedGuestOp
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.patterns import counted
from kvmprobe.xstate.tiles import BYTES_PER_ROW, TILES, tile_configuration

_ON = Descriptor.VCPU
_STRIDE = Registers(rdx=BYTES_PER_ROW)
Tile = Annotated[int, Number(TILES - 1)]
_BEFORE = b"\x5a" * TILE_SIZE


class Configuration(StrEnum):
    """The operand of LDTILECFG: the usual configuration, or one with one change."""

    FULL = "full"
    NARROW = "narrow"
    """TMM0 has 4 rows of 16 bytes."""
    PALETTE_0 = "palette-0"
    PALETTE_2 = "palette-2"
    RESERVED = "reserved"
    """A reserved byte is not zero."""
    NINTH_TILE = "ninth-tile"
    TALL = "tall"
    """TMM0 has 17 rows."""
    WIDE = "wide"
    """TMM0 has 68 bytes a row."""
    ROWLESS = "rowless"
    """TMM0 has columns and no rows."""


_CHANGES: dict[Configuration, dict[int, int]] = {
    Configuration.FULL: {},
    Configuration.NARROW: {16: 16, 48: 4},
    Configuration.PALETTE_0: {0: 0},
    Configuration.PALETTE_2: {0: 2},
    Configuration.RESERVED: {2: 1},
    Configuration.NINTH_TILE: {32: 64, 56: 16},
    Configuration.TALL: {48: 17},
    Configuration.WIDE: {16: 68},
    Configuration.ROWLESS: {48: 0},
}


def configuration_bytes(configuration: Configuration) -> bytes:
    """Return the 64 bytes of TILECFG."""
    content = bytearray(tile_configuration())
    for offset, value in _CHANGES[configuration].items():
        content[offset] = value
    return bytes(content)


def tile_rows(tile: int) -> bytes:
    """Return one tile of the pattern of XTILE_DATA."""
    return counted(XFeature.XTILE_DATA, TILES * TILE_SIZE)[tile * TILE_SIZE :][:TILE_SIZE]


@op("guest-ldtilecfg", "KVM_RUN", guest_tiles.LDTILECFG, on=_ON, operand="LDTILECFG")
class GuestLdtilecfg(FixedGuestOp):
    """Configure the tiles."""

    configuration: Configuration = Configuration.FULL
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"LDTILECFG {self.configuration.value}"

    def executes_as(self) -> Execution:
        content = configuration_bytes(self.configuration)
        model = partial(guest_tiles.ldtilecfg, configuration=content)
        return Execution(PayloadOp.LDTILECFG, model, data=content)


@op("guest-tileloadd", "KVM_RUN", guest_tiles.TILELOADD, on=_ON, operand="TILELOADD")
class GuestTileloadd(FixedGuestOp):
    """Load a tile's pattern."""

    tile: Tile = 0
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"TILELOADD TMM{self.tile}"

    def executes_as(self) -> Execution:
        rows = tile_rows(self.tile)
        model = partial(guest_tiles.tileloadd, tile=self.tile, rows=rows)
        return Execution(PayloadOp.TILELOADD, model, _STRIDE, operand=self.tile, data=rows)


@op("guest-tilestored", "KVM_RUN", guest_tiles.TILESTORED, on=_ON, operand="TILESTORED")
class GuestTilestored(FixedGuestOp):
    """Store a tile."""

    tile: Tile = 0
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"TILESTORED TMM{self.tile}"

    def executes_as(self) -> Execution:
        return Execution(
            PayloadOp.TILESTORED,
            partial(guest_tiles.tilestored, tile=self.tile, before=_BEFORE),
            _STRIDE,
            operand=self.tile,
            data=_BEFORE,
            data_size=TILE_SIZE,
        )


@op("guest-tilezero", "KVM_RUN", guest_tiles.TILEZERO, on=_ON, operand="TILEZERO")
class GuestTilezero(FixedGuestOp):
    """Clear a tile."""

    tile: Tile = 0
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"TILEZERO TMM{self.tile}"

    def executes_as(self) -> Execution:
        model = partial(guest_tiles.tilezero, tile=self.tile)
        return Execution(PayloadOp.TILEZERO, model, operand=self.tile)
