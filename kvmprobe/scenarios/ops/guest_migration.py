"""Saving a vCPU's state with the GET ioctls, and restoring the same bytes into another vCPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.model import guest_migration, msr
from kvmprobe.model.guest_migration import MOVED_MSRS, Part
from kvmprobe.scenarios.calls import Call, Captured, Ioctl, Output
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import VCPU
from kvmprobe.scenarios.ops.msrs import msr_list
from kvmprobe.scenarios.ops.sregs import GetSregs
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, largest_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_API = "Documentation/virt/kvm/api.rst"
_IOCTLS = {
    Part.REGS: (ioctls.GET_REGS, ioctls.SET_REGS),
    Part.SREGS: (ioctls.GET_SREGS, ioctls.SET_SREGS),
    Part.XCRS: (ioctls.GET_XCRS, ioctls.SET_XCRS),
    Part.XSAVE: (ioctls.GET_XSAVE2, ioctls.SET_XSAVE),
    Part.MSRS: (ioctls.GET_MSRS, ioctls.SET_MSRS),
    Part.EVENTS: (ioctls.GET_VCPU_EVENTS, ioctls.SET_VCPU_EVENTS),
    Part.DEBUGREGS: (ioctls.GET_DEBUGREGS, ioctls.SET_DEBUGREGS),
}
_MSR_NAMES = tuple(msr.msr_name(index) for index in MOVED_MSRS)
_FIELDS: dict[Part, Mapping[str, tuple[int, str]]] = {
    Part.XSAVE: GetXsave2.output_fields,
    Part.XCRS: GetXcrs.output_fields,
    Part.SREGS: GetSregs.output_fields,
    Part.MSRS: {name: (16 + 16 * place, "Q") for place, name in enumerate(_MSR_NAMES)},
}


def _capture(vcpu: str, part: Part) -> str:
    return f"{part} of {vcpu}"


@op("save-vcpu", "KVM_GET_*", f"{_API}: KVM_GET_XSAVE2, KVM_GET_XCRS, KVM_GET_MSRS, KVM_GET_SREGS")
@dataclass(frozen=True, slots=True)
class SaveVcpu(Op):
    """Read one part of a vCPU's state, and keep it."""

    part: Part
    vcpu: str = VCPU

    def __post_init__(self) -> None:
        """Accept the part's text."""
        object.__setattr__(self, "part", Part(self.part))

    def lower(self, host: HostProfile) -> Call:
        """Lower to the GET."""
        spec = _IOCTLS[self.part][0]
        size, head = spec.size, b""
        if self.part is Part.XSAVE:
            size = largest_image(host)
        elif self.part is Part.MSRS:
            head = msr_list(dict.fromkeys(MOVED_MSRS, 0))
            size = len(head)
        capture = _capture(self.vcpu, self.part)
        return Ioctl(spec.number, self.vcpu, Output(size, head, capture))

    def step(self, machine: Machine) -> Step:
        """Expect what the vCPU has."""
        return guest_migration.save(machine, self.vcpu, self.part)

    @property
    def places(self) -> Mapping[str, tuple[int, str]]:
        """The named values of that part."""
        return _FIELDS.get(self.part, {})

    @property
    def text(self) -> str:
        """Name the ioctl and the vCPU."""
        return f"{_IOCTLS[self.part][0].name} of {self.vcpu}"


@op(
    "restore-vcpu",
    "KVM_SET_*",
    f"{_API}: KVM_SET_XSAVE, KVM_SET_XCRS, KVM_SET_MSRS, KVM_SET_SREGS",
    errnos={"EINVAL": "another CPUID than the source's"},
)
@dataclass(frozen=True, slots=True)
class RestoreVcpu(Op):
    """Write what save-vcpu kept of another vCPU."""

    part: Part
    vcpu: str
    source: str = VCPU

    def __post_init__(self) -> None:
        """Accept the part's text."""
        object.__setattr__(self, "part", Part(self.part))

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the SET of the very bytes."""
        number = _IOCTLS[self.part][1].number
        return Ioctl(number, self.vcpu, Captured(_capture(self.source, self.part)))

    def step(self, machine: Machine) -> Step:
        """Expect them to be accepted."""
        return guest_migration.restore(machine, self.vcpu, self.part, self.source)

    @property
    def text(self) -> str:
        """Name the ioctl and the vCPU."""
        return f"{_IOCTLS[self.part][1].name} of {self.vcpu} from {self.source}"
