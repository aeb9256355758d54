"""The guest saves and restores its state with the XSAVE feature set and with FXSAVE."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kvmprobe.abi.payload import PayloadOp, Registers, command
from kvmprobe.model import guest_xsave
from kvmprobe.model.guest_xsave import COMPACTED, RestoreForm, SaveForm
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.guest import GuestOp
from kvmprobe.scenarios.ops.lifecycle import VCPU
from kvmprobe.xstate import patterns
from kvmprobe.xstate.cpuid import halves
from kvmprobe.xstate.features import MPX, names, numbers
from kvmprobe.xstate.image import place_of
from kvmprobe.xstate.layout import HEADER_OFFSET, LEGACY_SIZE, MXCSR

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.model.guest import Guest
    from kvmprobe.model.host import HostProfile

ALL = (1 << 64) - 1
_SAVES = {
    SaveForm.XSAVE: PayloadOp.XSAVE64,
    SaveForm.XSAVEOPT: PayloadOp.XSAVEOPT64,
    SaveForm.XSAVEC: PayloadOp.XSAVEC64,
    SaveForm.XSAVES: PayloadOp.XSAVES64,
}
_RESTORES = {RestoreForm.XRSTOR: PayloadOp.XRSTOR64, RestoreForm.XRSTORS: PayloadOp.XRSTORS64}


def area_size(host: HostProfile) -> int:
    """Return the bytes of the largest area in either format."""
    compacted = guest_xsave.compacted_layout(host, host.layout.bitmap | host.kvm_xss)
    return max(host.layout.size(host.layout.bitmap), compacted.size(compacted.bitmap))


class _AreaOp(GuestOp):
    """An instruction with RFBM in EDX:EAX and an area in memory."""

    rfbm: int
    offset: int

    @property
    def registers(self) -> Registers:
        """EDX:EAX."""
        low, high = halves(self.rfbm)
        return Registers(rax=low, rdx=high)


@op("guest-xsave", "KVM_RUN(XSAVE)", "SDM vol.1 §13.7", "SDM vol.2 XSAVE, XSAVEC, XSAVES, XSAVEOPT")
@dataclass(frozen=True, slots=True)
class GuestXsave(_AreaOp):
    """Save into an area of zeros, ``offset`` bytes behind a page's beginning."""

    saves: SaveForm = SaveForm.XSAVE
    rfbm: int = ALL
    offset: int = 0
    vcpu: str = VCPU
    rule = guest_xsave.XSAVE

    def __post_init__(self) -> None:
        """Accept the form's text."""
        object.__setattr__(self, "saves", SaveForm(self.saves))

    @property
    def mnemonic(self) -> str:
        """The instruction."""
        return f"{self.saves.name} RFBM={self.rfbm:#x} at {self.offset}"

    def command(self, host: HostProfile) -> bytes:
        """Clear the data area beforehand."""
        data = bytes(area_size(host))
        return command(_SAVES[self.saves], self.registers, offset=self.offset, data=data)

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:
        """Save."""
        before = bytes(area_size(host))
        return partial(guest_xsave.xsave, form=self.saves, before=before, offset=self.offset)

    def size_of_data(self, host: HostProfile) -> int:
        """Return the bytes of the area."""
        return area_size(host)


@op("guest-xrstor", "KVM_RUN(XRSTOR)", "SDM vol.1 §13.8", "SDM vol.2 XRSTOR, XRSTORS")
@dataclass(frozen=True, slots=True)
class GuestXrstor(_AreaOp):
    """Restore the patterns of ``xstate_bv``; in compacted format if ``xcomp_bv`` says so.

    :ivar reserved: byte 16 of the header
    """

    xstate_bv: int
    xcomp_bv: int = 0
    restores: RestoreForm = RestoreForm.XRSTOR
    rfbm: int = ALL
    mxcsr: int = patterns.MXCSR_PATTERN
    reserved: int = 0
    offset: int = 0
    vcpu: str = VCPU
    rule = guest_xsave.XRSTOR

    def __post_init__(self) -> None:
        """Accept the form's text."""
        object.__setattr__(self, "restores", RestoreForm(self.restores))

    @property
    def mnemonic(self) -> str:
        """The instruction and the components."""
        compacted = f" XCOMP_BV={self.xcomp_bv:#x}" if self.xcomp_bv else ""
        return f"{self.restores.name} XSTATE_BV={names(self.xstate_bv)}{compacted}"

    def area(self, host: HostProfile) -> bytes:
        """Return the area in memory."""
        memory = bytearray(area_size(host))
        layout = host.layout
        if self.xcomp_bv & COMPACTED:
            known = self.xcomp_bv & (layout.bitmap | host.kvm_xss)
            layout = guest_xsave.compacted_layout(host, known)
        # Supervisor components have no pattern: they are loaded as zeros.
        for nr in numbers(self.xstate_bv & layout.bitmap & host.layout.bitmap & ~MPX):
            content = patterns.content(nr, host.layout)
            for span in place_of(nr, layout):
                memory[span.start : span.stop] = content[: len(span)]
                content = content[len(span) :]
        struct.pack_into("<I", memory, MXCSR.start, self.mxcsr)
        header = (self.xstate_bv, self.xcomp_bv, self.reserved)
        struct.pack_into("<3Q", memory, HEADER_OFFSET, *header)
        return bytes(memory)

    def command(self, host: HostProfile) -> bytes:
        """Put the area into the data area."""
        data = self.area(host)
        return command(_RESTORES[self.restores], self.registers, offset=self.offset, data=data)

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:
        """Restore."""
        memory = self.area(host)
        return partial(guest_xsave.xrstor, form=self.restores, memory=memory, offset=self.offset)


@op("guest-fxsave", "KVM_RUN(FXSAVE)", "SDM vol.2 FXSAVE")
@dataclass(frozen=True, slots=True)
class GuestFxsave(GuestOp):
    """Save x87 and SSE."""

    vcpu: str = VCPU
    rule = guest_xsave.FXSAVE

    @property
    def mnemonic(self) -> str:
        """The instruction."""
        return "FXSAVE"

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Clear the data area beforehand."""
        return command(PayloadOp.FXSAVE64, data=bytes(LEGACY_SIZE))

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Save."""
        return partial(guest_xsave.fxsave, before=bytes(LEGACY_SIZE))

    def size_of_data(self, host: HostProfile) -> int:  # noqa: ARG002
        """Return the bytes of the area."""
        return LEGACY_SIZE


@op("guest-fxrstor", "KVM_RUN(FXRSTOR)", "SDM vol.2 FXRSTOR")
@dataclass(frozen=True, slots=True)
class GuestFxrstor(GuestOp):
    """Restore the patterns of x87 and SSE."""

    mxcsr: int = patterns.MXCSR_PATTERN
    vcpu: str = VCPU
    rule = guest_xsave.FXRSTOR

    @property
    def mnemonic(self) -> str:
        """The instruction."""
        return f"FXRSTOR MXCSR={self.mxcsr:#x}"

    def area(self, host: HostProfile) -> bytes:
        """Return the area in memory."""
        return GuestXrstor(xstate_bv=0x3, mxcsr=self.mxcsr).area(host)[:LEGACY_SIZE]

    def command(self, host: HostProfile) -> bytes:
        """Put the area into the data area."""
        return command(PayloadOp.FXRSTOR64, data=self.area(host))

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:
        """Restore."""
        return partial(guest_xsave.fxrstor, memory=self.area(host))
