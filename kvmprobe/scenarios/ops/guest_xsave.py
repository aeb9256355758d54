"""The guest saves and restores its state with the XSAVE feature set and with FXSAVE."""

from __future__ import annotations

import struct
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.payload import PayloadOp, Registers
from kvmprobe.model import cet, guest_xsave
from kvmprobe.model.guest_xsave import COMPACTED, RestoreForm, SaveForm
from kvmprobe.model.shadow_stack import SH_STK_EN
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.op_fields import U32, U64, U64_MAX, Name, Number
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.guest import Execution, FixedGuestOp, GuestOp
from kvmprobe.xstate import patterns
from kvmprobe.xstate.cpuid import halves
from kvmprobe.xstate.features import CET, FPSSE, MPX, XFeature, names, numbers
from kvmprobe.xstate.image import place_of
from kvmprobe.xstate.layout import HEADER_OFFSET, LEGACY_SIZE, MXCSR

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile

ALL = U64_MAX
_ON = Descriptor.VCPU
Misaligned = Annotated[int, Number(63)]
"""Bytes from a 64-byte boundary: the area is at the start of the data area, or causes #GP."""
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


def _rfbm(rfbm: int) -> Registers:
    """Return the registers with RFBM in EDX:EAX."""
    low, high = halves(rfbm)
    return Registers(rax=low, rdx=high)


class Supervisor(StrEnum):
    """What an area has as the content of CET_USER and CET_KERNEL."""

    ZEROS = "zeros"
    PATTERN = "pattern"

    def content(self, nr: int) -> bytes:
        """Return a component's bytes: values that the MSRs of a CPU with CET can have."""
        count = len(cet.COMPONENTS[XFeature(nr)])
        if self is Supervisor.ZEROS:
            return bytes(8 * count)
        values = [0x1_0000 * nr + 8 * place for place in range(count)]
        if nr == XFeature.CET_USER:
            values[0] = SH_STK_EN
        return struct.pack(f"<{count}Q", *values)


def _area(xstate_bv: int, xcomp_bv: int, reserved: int, mxcsr: int, host: HostProfile) -> bytes:
    """Return an area with the patterns of ``xstate_bv``, and zeros as supervisor state."""
    memory = bytearray(area_size(host))
    layout = host.layout
    if xcomp_bv & COMPACTED:
        layout = guest_xsave.compacted_layout(host, xcomp_bv & (layout.bitmap | host.kvm_xss))
    for nr in numbers(xstate_bv & layout.bitmap & host.layout.bitmap & ~MPX):
        content = patterns.content(nr, host.layout)
        for span in place_of(nr, layout):
            memory[span.start : span.stop] = content[: len(span)]
            content = content[len(span) :]
    struct.pack_into("<I", memory, MXCSR.start, mxcsr)
    struct.pack_into("<3Q", memory, HEADER_OFFSET, xstate_bv, xcomp_bv, reserved)
    return bytes(memory)


@op("guest-xsave", "KVM_RUN", guest_xsave.XSAVE, on=_ON, operand="XSAVE")
class GuestXsave(GuestOp):
    """Save into an area of zeros, ``offset`` bytes after the start of a page."""

    saves: SaveForm = SaveForm.XSAVE
    rfbm: U64 = ALL
    offset: Misaligned = 0
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"{self.saves.name} RFBM={self.rfbm:#x} at {self.offset}"

    def execution(self, host: HostProfile) -> Execution:
        before = bytes(area_size(host))
        return Execution(
            _SAVES[self.saves],
            partial(guest_xsave.xsave, form=self.saves, before=before, offset=self.offset),
            _rfbm(self.rfbm),
            offset=self.offset,
            data=before,
            data_size=len(before),
        )


@op("guest-xrstor", "KVM_RUN", guest_xsave.XRSTOR, on=_ON, operand="XRSTOR")
class GuestXrstor(GuestOp):
    """Restore the patterns of ``xstate_bv``; in compacted format if ``xcomp_bv`` says so.

    :ivar reserved: byte 16 of the header
    :ivar supervisor: content of supervisor components
    """

    xstate_bv: U64
    xcomp_bv: U64 = 0
    restores: RestoreForm = RestoreForm.XRSTOR
    rfbm: U64 = ALL
    mxcsr: U32 = patterns.MXCSR_PATTERN
    reserved: U64 = 0
    offset: Misaligned = 0
    supervisor: Supervisor = Supervisor.ZEROS
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        compacted = f" XCOMP_BV={self.xcomp_bv:#x}" if self.xcomp_bv else ""
        return f"{self.restores.name} XSTATE_BV={names(self.xstate_bv)}{compacted}"

    def execution(self, host: HostProfile) -> Execution:
        area = self._with_supervisor(
            _area(self.xstate_bv, self.xcomp_bv, self.reserved, self.mxcsr, host), host
        )
        return Execution(
            _RESTORES[self.restores],
            partial(guest_xsave.xrstor, form=self.restores, memory=area, offset=self.offset),
            _rfbm(self.rfbm),
            offset=self.offset,
            data=area,
        )

    def _with_supervisor(self, area: bytes, host: HostProfile) -> bytes:
        """Return the area with supervisor components, where the compacted format has them."""
        if not self.xcomp_bv & COMPACTED:
            return area
        filled = bytearray(area)
        layout = guest_xsave.compacted_layout(
            host, self.xcomp_bv & (host.layout.bitmap | host.kvm_xss)
        )
        for nr in numbers(self.xstate_bv & layout.bitmap & CET):
            place = layout.component(nr)
            filled[place.offset : place.end] = self.supervisor.content(nr)
        return bytes(filled)


@op("guest-fxsave", "KVM_RUN", guest_xsave.FXSAVE, on=_ON, operand="FXSAVE")
class GuestFxsave(FixedGuestOp):
    """Save x87 and SSE."""

    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return "FXSAVE"

    def executes_as(self) -> Execution:
        before = bytes(LEGACY_SIZE)
        model = partial(guest_xsave.fxsave, before=before)
        return Execution(PayloadOp.FXSAVE64, model, data=before, data_size=LEGACY_SIZE)


@op("guest-fxrstor", "KVM_RUN", guest_xsave.FXRSTOR, on=_ON, operand="FXRSTOR")
class GuestFxrstor(GuestOp):
    """Restore the patterns of x87 and SSE."""

    mxcsr: U32 = patterns.MXCSR_PATTERN
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"FXRSTOR MXCSR={self.mxcsr:#x}"

    def execution(self, host: HostProfile) -> Execution:
        area = _area(FPSSE, 0, 0, self.mxcsr, host)[:LEGACY_SIZE]
        model = partial(guest_xsave.fxrstor, memory=area)
        return Execution(PayloadOp.FXRSTOR64, model, data=area)
