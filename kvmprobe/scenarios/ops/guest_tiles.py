"""The guest configures, loads and stores tiles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from kvmprobe.abi.payload import PayloadOp, Registers, command
from kvmprobe.model import guest_tiles
from kvmprobe.model.guest_tiles import TILE_SIZE
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.guest import GuestOp
from kvmprobe.scenarios.ops.lifecycle import VCPU
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.patterns import counted
from kvmprobe.xstate.tiles import BYTES_PER_ROW, TILES, tile_configuration

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.model.guest import Guest
    from kvmprobe.model.host import HostProfile

_BEFORE = b"\x5a" * TILE_SIZE


class Configuration(StrEnum):
    """What LDTILECFG is given: the usual one, or that with one thing changed."""

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
    """Return what the pattern of XTILE_DATA has in one tile."""
    return counted(XFeature.XTILE_DATA, TILES * TILE_SIZE)[tile * TILE_SIZE :][:TILE_SIZE]


@op("guest-ldtilecfg", "KVM_RUN(LDTILECFG)", "SDM vol.2 LDTILECFG")
@dataclass(frozen=True, slots=True)
class GuestLdtilecfg(GuestOp):
    """Configure the tiles."""

    configuration: Configuration = Configuration.FULL
    vcpu: str = VCPU
    rule = guest_tiles.LDTILECFG

    def __post_init__(self) -> None:
        """Accept the configuration's text."""
        object.__setattr__(self, "configuration", Configuration(self.configuration))

    @property
    def mnemonic(self) -> str:
        """The configuration."""
        return f"LDTILECFG {self.configuration.value}"

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Put it into the data area."""
        return command(PayloadOp.LDTILECFG, data=configuration_bytes(self.configuration))

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Load it."""
        content = configuration_bytes(self.configuration)
        return partial(guest_tiles.ldtilecfg, configuration=content)


class _TileOp(GuestOp):
    """An instruction with one tile and, mostly, its rows in memory."""

    tile: int

    @property
    def registers(self) -> Registers:
        """Return the stride."""
        return Registers(rdx=BYTES_PER_ROW)


@op("guest-tileloadd", "KVM_RUN(TILELOADD)", "SDM vol.2 TILELOADD")
@dataclass(frozen=True, slots=True)
class GuestTileloadd(_TileOp):
    """Load a tile's pattern."""

    tile: int = 0
    vcpu: str = VCPU
    rule = guest_tiles.TILELOADD

    @property
    def mnemonic(self) -> str:
        """The tile."""
        return f"TILELOADD TMM{self.tile}"

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Put the rows into the data area."""
        data = tile_rows(self.tile)
        return command(PayloadOp.TILELOADD, self.registers, operand=self.tile, data=data)

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Load them."""
        return partial(guest_tiles.tileloadd, tile=self.tile, rows=tile_rows(self.tile))


@op("guest-tilestored", "KVM_RUN(TILESTORED)", "SDM vol.2 TILESTORED")
@dataclass(frozen=True, slots=True)
class GuestTilestored(_TileOp):
    """Store a tile."""

    tile: int = 0
    vcpu: str = VCPU
    rule = guest_tiles.TILESTORED

    @property
    def mnemonic(self) -> str:
        """The tile."""
        return f"TILESTORED TMM{self.tile}"

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Fill the data area beforehand."""
        return command(PayloadOp.TILESTORED, self.registers, operand=self.tile, data=_BEFORE)

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Store its rows."""
        return partial(guest_tiles.tilestored, tile=self.tile, before=_BEFORE)

    def size_of_data(self, host: HostProfile) -> int:  # noqa: ARG002
        """Return the bytes of a tile."""
        return TILE_SIZE


@op("guest-tilezero", "KVM_RUN(TILEZERO)", "SDM vol.2 TILEZERO")
@dataclass(frozen=True, slots=True)
class GuestTilezero(GuestOp):
    """Clear a tile."""

    tile: int = 0
    vcpu: str = VCPU
    rule = guest_tiles.TILEZERO

    @property
    def mnemonic(self) -> str:
        """The tile."""
        return f"TILEZERO TMM{self.tile}"

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Have it cleared."""
        return command(PayloadOp.TILEZERO, operand=self.tile)

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Clear it."""
        return partial(guest_tiles.tilezero, tile=self.tile)
