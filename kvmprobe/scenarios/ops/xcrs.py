"""Setting and reading XCR0."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.model import xcr
from kvmprobe.scenarios.calls import Call, Ioctl, Literal, Output
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops._values import Pairs, pairs
from kvmprobe.scenarios.ops.lifecycle import VCPU
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_XCRS_SIZE = ioctls.SET_XCRS.size
_VALUE_OFFSET = 16


@op(
    "set-xcrs",
    "KVM_SET_XCRS",
    "Documentation/virt/kvm/api.rst: KVM_SET_XCRS",
    "arch/x86/kvm/x86.c: __kvm_set_xcr",
    errnos={"EINVAL": "illegal by the SDM, or not within the guest's CPUID"},
)
@dataclass(frozen=True, slots=True)
class SetXcrs(Op):
    """Set XCR0 with a one-entry list."""

    xcr0: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to ``struct kvm_xcrs``."""
        xcrs = struct.pack("=IIIIQ", 1, 0, 0, 0, self.xcr0).ljust(_XCRS_SIZE, b"\0")
        return Ioctl(ioctls.SET_XCRS.number, VCPU, Literal(xcrs))

    def step(self, machine: Machine) -> Step:
        """Accept a legal value."""
        return xcr.set_xcr0(machine, VCPU, self.xcr0)

    @property
    def text(self) -> str:
        """Name the components."""
        return f"{self.kernel_call} XCR0={names(self.xcr0)}"


@op(
    "set-xcrs-list",
    "KVM_SET_XCRS",
    "Documentation/virt/kvm/api.rst: KVM_SET_XCRS",
    "arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_set_xcrs",
    errnos={"EINVAL": "more than 16 entries, flags, or an illegal value for XCR0"},
)
@dataclass(frozen=True, slots=True)
class SetXcrsList(Op):
    """Set extended control registers from a list of (number, value); KVM has room for 16."""

    entries: Pairs
    flags: int = 0

    def __post_init__(self) -> None:
        """Accept what JSON made of the list."""
        object.__setattr__(self, "entries", pairs(self.entries))

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to ``struct kvm_xcrs``; entries beyond the 16th lie in its padding."""
        head = struct.pack("=II", len(self.entries), self.flags)
        body = b"".join(struct.pack("=IIQ", index, 0, value) for index, value in self.entries)
        return Ioctl(ioctls.SET_XCRS.number, VCPU, Literal((head + body).ljust(_XCRS_SIZE, b"\0")))

    def step(self, machine: Machine) -> Step:
        """Take the first entry for XCR0."""
        return xcr.set_xcrs(machine, VCPU, self.entries, self.flags)

    @property
    def text(self) -> str:
        """Say how many entries, and name the first."""
        first = ", ".join(f"xcr{i}={names(v)}" for i, v in self.entries[:2])
        return f"{self.kernel_call}({len(self.entries)} entries: {first}; flags={self.flags})"


@op("get-xcrs", "KVM_GET_XCRS", "Documentation/virt/kvm/api.rst: KVM_GET_XCRS")
@dataclass(frozen=True, slots=True)
class GetXcrs(Op):
    """Read XCR0."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {xcr.XCR0_FIELD: (_VALUE_OFFSET, "Q")}

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to ``struct kvm_xcrs``."""
        return Ioctl(ioctls.GET_XCRS.number, VCPU, Output(_XCRS_SIZE))

    def step(self, machine: Machine) -> Step:
        """Expect the last accepted value."""
        return xcr.get_xcr0(machine, VCPU)
