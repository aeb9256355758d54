"""x87 and SSE state through the legacy ioctls."""

from __future__ import annotations

import errno
import struct
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.model import fpu
from kvmprobe.scenarios.calls import VCPU, Argument, Literal, Output
from kvmprobe.scenarios.op_fields import Size
from kvmprobe.scenarios.ops._base import FixedIoctl, HostIoctl, op
from kvmprobe.scenarios.ops.xsave import at_page_end, room_at_page_end
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.fpu_area import FCW, FPU_SIZE, MXCSR, PADDING, POINTERS, REGISTERS, to_area
from kvmprobe.xstate.image import FCW_INIT, init_content
from kvmprobe.xstate.malformations import random_content

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_GARBAGE = 0xEE
# SDM vol.1 §8.1.5 "x87 FPU Control Word": bits 6, 7 and 13 to 15
_FCW_RESERVED = 0xE0C0
_PLACES = {"FCW": ioctls.KVM_FPU.places("fcw")["fcw"]}


class FpuContent(StrEnum):
    """The content of KVM_SET_FPU's argument."""

    INIT = "init"
    FIRST = "first"
    SECOND = "second"
    POINTERS = "pointers"
    """As FIRST, and FOP, FIP and FDP are not zero."""
    RESERVED = "reserved"
    """As FIRST, and the reserved bits of FCW are set."""
    GARBAGE = "garbage"
    """As FIRST; padding, the bytes after each ST register and MXCSR are not zero."""


def fpu_area(given: FpuContent, host: HostProfile) -> bytes:
    """Return ``struct kvm_fpu``."""
    if given is FpuContent.INIT:
        contents = [init_content(nr, host.layout) for nr in (XFeature.FP, XFeature.SSE)]
    else:
        seed = 2 if given is FpuContent.SECOND else 1
        contents = [random_content(nr, seed, host.layout) for nr in (XFeature.FP, XFeature.SSE)]
    area = bytearray(to_area(*contents))
    if given is FpuContent.POINTERS:
        area[POINTERS.start : POINTERS.stop] = bytes(range(1, len(POINTERS) + 1))
    if given is FpuContent.RESERVED:
        area[FCW.start : FCW.stop] = struct.pack("<H", FCW_INIT | _FCW_RESERVED)
    if given is FpuContent.GARBAGE:
        reserved = [PADDING, range(MXCSR.start, FPU_SIZE)]
        reserved += [range(start + 10, start + 16) for start in range(0, REGISTERS.stop, 16)]
        for place in reserved:
            area[place.start : place.stop] = bytes([_GARBAGE]) * len(place)
    return bytes(area)


@op("set-fpu", ioctls.SET_FPU, fpu.SET_FPU)
class SetFpu(HostIoctl):
    """Set x87 and SSE registers."""

    in_vmx_operation = True

    given: FpuContent

    def argument(self, host: HostProfile) -> Argument:
        return Literal(fpu_area(self.given, host))

    def transition(self, machine: Machine) -> Step:
        return fpu.set_fpu(machine, VCPU, fpu_area(self.given, machine.host))

    @property
    def text(self) -> str:
        return f"{self.kernel_call} {self.given}"


@op("get-fpu", ioctls.GET_FPU, fpu.GET_FPU, output=_PLACES)
class GetFpu(FixedIoctl):
    """Read x87 and SSE registers."""

    in_vmx_operation = True

    def argument(self) -> Argument:
        return Output(FPU_SIZE)

    def transition(self, machine: Machine) -> Step:
        return fpu.get_fpu(machine, VCPU)


@op(
    "set-fpu-at-page-end",
    ioctls.SET_FPU,
    fpu.SET_FPU,
    errnos=(errno.EFAULT,),
)
class SetFpuAtPageEnd(HostIoctl):
    """Set registers from the first ``size`` bytes; the memory after them cannot be read."""

    size: Size

    def _given(self, host: HostProfile) -> bytes:
        return fpu_area(FpuContent.FIRST, host)[: self.size]

    def argument(self, host: HostProfile) -> Argument:
        return at_page_end(self._given(host))

    def transition(self, machine: Machine) -> Step:
        return fpu.set_fpu(machine, VCPU, self._given(machine.host))

    @property
    def text(self) -> str:
        return f"{self.kernel_call} of {self.size} bytes"


@op(
    "get-fpu-at-page-end",
    ioctls.GET_FPU,
    fpu.GET_FPU,
    errnos=(errno.EFAULT,),
    output=_PLACES,
)
class GetFpuAtPageEnd(FixedIoctl):
    """Read registers into ``size`` bytes; the memory after them cannot be written."""

    size: Size

    def argument(self) -> Argument:
        return room_at_page_end(self.size)

    def transition(self, machine: Machine) -> Step:
        return fpu.get_fpu(machine, VCPU, self.size)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} into {self.size} bytes"
