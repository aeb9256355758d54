"""What the second model keeps of a process and of a vCPU.  None, or nothing, is what is not known.

A component has its value here, and whether XSTATE_BV has its bit.  A value that is initial looks
the same in an image with and without the bit (api.rst 4.42 KVM_GET_XSAVE; SDM vol.1 13.6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmprobe.xstate.image import significant_x87
from kvmprobe.xstate.tiles import configures, inside_shapes
from tests.opinion import sdm

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.xstate.layout import Layout

ARMABLE = 1 << sdm.TILE_DATA


@dataclass(slots=True)
class Process:
    """Permissions of xstate.rst, and whether the guest's are frozen."""

    own: int | None
    guest: int | None
    frozen: bool | None = False

    @classmethod
    def fresh(cls, host: HostProfile) -> Process:
        """Return a process that has asked for nothing."""
        usual = host.user_features & ~ARMABLE
        return cls(usual, usual)


@dataclass(slots=True)
class Vcpu:
    """One vCPU, as it is after creation.

    :ivar compacted: the kernel saves it with XSAVES and loads it with XRSTORS
    :ivar offered: the components that both its CPUID and KVM have
    :ivar tiles: its image has room for XTILEDATA
    :ivar present: bits that XSTATE_BV certainly has
    :ivar absent: bits that it certainly has not
    :ivar values: the components' contents, all but PKRU's
    """

    layout: Layout
    compacted: bool
    offered: int | None = 0
    tiles: bool | None = False
    has_run: bool = False
    xcr0: int | None = 1
    xfd: int | None = 0
    xfd_err: int | None = 0
    pkru: int | None = 0
    mxcsr: int | None = sdm.MXCSR_INIT
    present: int = 0
    absent: int = -1
    values: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with the initial configuration (SDM vol.3 table 11-1: after power-up)."""
        self.values = {nr: sdm.initial(nr, self.layout) for nr in self.components()}

    def components(self) -> list[int]:
        """Return the numbers of those that have a value here."""
        extended = [c.nr for c in self.layout.components if c.nr != sdm.PKRU]
        return [sdm.X87, sdm.SSE, *extended]

    def image_size(self) -> int | None:
        """Return the size of its image, bytes: 4096, or more with XTILEDATA (api.rst 4.134)."""
        if self.tiles is None:
            return None
        return max(4096, sdm.area_size(ARMABLE, self.layout) if self.tiles else 0)

    def forget_registers(self) -> None:
        """Know nothing more of what the XSAVE instructions save."""
        self.values.clear()
        self.mxcsr = self.pkru = None
        self.present, self.absent = 0, ~self.layout.bitmap

    def forget_tile_data(self) -> None:
        """Know nothing more of XTILEDATA."""
        self.values.pop(sdm.TILE_DATA, None)
        self.present &= ~ARMABLE
        self.absent &= ~ARMABLE

    def lose_tile_data(self) -> None:
        """Have XTILEDATA in its initial configuration."""
        if sdm.TILE_DATA in self.components():
            self.values[sdm.TILE_DATA] = sdm.initial(sdm.TILE_DATA, self.layout)
        self.present &= ~ARMABLE
        self.absent |= ARMABLE

    def pass_through_registers(self) -> None:
        """Be loaded into a processor's registers and saved, as KVM_RUN does.

        A processor may keep or clear the bit of a component in its initial configuration (SDM
        vol.1 13.6: XINUSE).  XRSTORS initializes MXCSR with SSE, and XSAVES sets XSTATE_BV[1] for
        an MXCSR that is not initial (13.12, 13.11); the standard form loads and saves MXCSR
        whatever XSTATE_BV[1] is (13.8.1, 13.7).
        """
        sse = 1 << sdm.SSE
        if self.compacted and self.mxcsr != sdm.MXCSR_INIT and not self.present & sse:
            self.mxcsr = sdm.MXCSR_INIT if self.absent & sse else None
        self._keep_what_a_processor_keeps()
        used = [nr for nr, value in self.values.items() if value != sdm.initial(nr, self.layout)]
        self.present = sum(1 << nr for nr in used)
        if self.compacted and self.mxcsr not in {None, sdm.MXCSR_INIT}:
            self.present |= sse
        armed = ARMABLE if self.xfd else 0
        self.absent = ~self.layout.bitmap | armed

    def _keep_what_a_processor_keeps(self) -> None:
        x87 = self.values.get(sdm.X87, b"")
        if x87 and x87 != significant_x87(x87):
            del self.values[sdm.X87]
        configuration = self.values.get(sdm.TILE_CONFIG)
        if configuration is None:
            self.values.pop(sdm.TILE_DATA, None)
        elif not configures(configuration):
            if any(configuration):
                del self.values[sdm.TILE_CONFIG]
            if any(self.values.get(sdm.TILE_DATA, b"")):
                del self.values[sdm.TILE_DATA]
        elif not inside_shapes(configuration, self.values.get(sdm.TILE_DATA, b"")):
            del self.values[sdm.TILE_DATA]
