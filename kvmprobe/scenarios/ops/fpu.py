"""x87 and SSE state through the legacy ioctls."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.model import fpu
from kvmprobe.scenarios.calls import (
    Call,
    Immediate,
    Ioctl,
    Literal,
    LiteralAtPageEnd,
    Output,
    OutputAtPageEnd,
)
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import VCPU
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.fpu_area import FCW, FPU_SIZE, MXCSR, PADDING, POINTERS, REGISTERS, to_area
from kvmprobe.xstate.image import FCW_INIT, init_content
from kvmprobe.xstate.malformations import random_content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_GARBAGE = 0xEE
# SDM vol.1 §8.1.5 "x87 FPU Control Word": bits 6, 7 and 13 to 15
_FCW_RESERVED = 0xE0C0
_NULL = Immediate(0)


class FpuContent(StrEnum):
    """What KVM_SET_FPU is given."""

    INIT = "init"
    FIRST = "first"
    SECOND = "second"
    POINTERS = "pointers"
    """As FIRST, and FOP, FIP and FDP are not zero."""
    RESERVED = "reserved"
    """As FIRST, and the reserved bits of FCW are set."""
    GARBAGE = "garbage"
    """As FIRST; padding, the bytes behind each ST register and MXCSR are not zero."""


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


@op(
    "set-fpu",
    "KVM_SET_FPU",
    "Documentation/virt/kvm/api.rst: KVM_SET_FPU",
    "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_fpu",
)
@dataclass(frozen=True, slots=True)
class SetFpu(Op):
    """Set x87 and SSE registers."""

    given: FpuContent

    def __post_init__(self) -> None:
        """Accept the content's text."""
        object.__setattr__(self, "given", FpuContent(self.given))

    def lower(self, host: HostProfile) -> Call:
        """Lower to ``struct kvm_fpu``."""
        return Ioctl(ioctls.SET_FPU.number, VCPU, Literal(fpu_area(self.given, host)))

    def step(self, machine: Machine) -> Step:
        """Set them, but for MXCSR."""
        return fpu.set_fpu(machine, VCPU, fpu_area(self.given, machine.host))

    @property
    def text(self) -> str:
        """Name the content."""
        return f"{self.kernel_call} {self.given}"


@op(
    "get-fpu",
    "KVM_GET_FPU",
    "Documentation/virt/kvm/api.rst: KVM_GET_FPU",
    "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu",
)
@dataclass(frozen=True, slots=True)
class GetFpu(Op):
    """Read x87 and SSE registers."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {fpu.FCW_FIELD: (FCW.start, "H")}

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a buffer for ``struct kvm_fpu``."""
        return Ioctl(ioctls.GET_FPU.number, VCPU, Output(FPU_SIZE))

    def step(self, machine: Machine) -> Step:
        """Expect what the uabi image shows."""
        return fpu.get_fpu(machine, VCPU)


@op(
    "set-fpu-at-page-end",
    "KVM_SET_FPU",
    "Documentation/virt/kvm/api.rst: KVM_SET_FPU",
    "virt/kvm/kvm_main.c: kvm_vcpu_ioctl",
    errnos={"EFAULT": "less than the structure can be read"},
)
@dataclass(frozen=True, slots=True)
class SetFpuAtPageEnd(Op):
    """Set registers from the first ``size`` bytes, right before what cannot be read."""

    size: int

    def _given(self, host: HostProfile) -> bytes:
        return fpu_area(FpuContent.FIRST, host)[: self.size]

    def lower(self, host: HostProfile) -> Call:
        """Lower to the bytes at a page's end; no byte at all is a null pointer."""
        given = self._given(host)
        return Ioctl(ioctls.SET_FPU.number, VCPU, LiteralAtPageEnd(given) if given else _NULL)

    def step(self, machine: Machine) -> Step:
        """Expect exactly the structure to be read."""
        return fpu.set_fpu(machine, VCPU, self._given(machine.host))

    @property
    def text(self) -> str:
        """Tell the size."""
        return f"{self.kernel_call} of {self.size} bytes"


@op(
    "get-fpu-at-page-end",
    "KVM_GET_FPU",
    "Documentation/virt/kvm/api.rst: KVM_GET_FPU",
    "virt/kvm/kvm_main.c: kvm_vcpu_ioctl",
    errnos={"EFAULT": "less than the structure can be written"},
)
@dataclass(frozen=True, slots=True)
class GetFpuAtPageEnd(Op):
    """Read registers into ``size`` bytes, right before what cannot be written."""

    size: int
    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {fpu.FCW_FIELD: (FCW.start, "H")}

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a buffer at a page's end; no byte at all is a null pointer."""
        argument = OutputAtPageEnd(self.size) if self.size else _NULL
        return Ioctl(ioctls.GET_FPU.number, VCPU, argument)

    def step(self, machine: Machine) -> Step:
        """Expect exactly the structure to be written."""
        return fpu.get_fpu(machine, VCPU, self.size)

    @property
    def text(self) -> str:
        """Tell the size."""
        return f"{self.kernel_call} into {self.size} bytes"
