"""Saving a vCPU's state with the GET ioctls, and restoring the same bytes into another vCPU."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import msr_name
from kvmprobe.abi.tables import MSRS
from kvmprobe.model import guest_migration, msr, sregs, uabi, xcr
from kvmprobe.model.guest_migration import MSR_LISTS, Part
from kvmprobe.scenarios.calls import VCPU, Argument, Captured, Output
from kvmprobe.scenarios.op_fields import Name
from kvmprobe.scenarios.ops._base import FixedIoctl, HostIoctl, Places, op
from kvmprobe.scenarios.ops.msrs import msr_list
from kvmprobe.scenarios.ops.sregs import SREGS_PLACES
from kvmprobe.scenarios.ops.xcrs import XCRS_PLACES
from kvmprobe.scenarios.ops.xsave import IMAGE_PLACES, largest_image

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu
    from kvmprobe.model.outcome import Step

_IOCTLS = {
    Part.REGS: (ioctls.GET_REGS, ioctls.SET_REGS),
    Part.SREGS: (ioctls.GET_SREGS, ioctls.SET_SREGS),
    Part.XCRS: (ioctls.GET_XCRS, ioctls.SET_XCRS),
    Part.XSAVE: (ioctls.GET_XSAVE2, ioctls.SET_XSAVE),
    **dict.fromkeys(MSR_LISTS, (ioctls.GET_MSRS, ioctls.SET_MSRS)),
    Part.EVENTS: (ioctls.GET_VCPU_EVENTS, ioctls.SET_VCPU_EVENTS),
    Part.DEBUGREGS: (ioctls.GET_DEBUGREGS, ioctls.SET_DEBUGREGS),
}
_ENTRY_FORMAT = MSRS.entry.format("data")
_FIELDS: dict[Part, Places] = {
    Part.XSAVE: IMAGE_PLACES,
    Part.XCRS: XCRS_PLACES,
    Part.SREGS: SREGS_PLACES,
    **{
        part: {
            msr_name(index): (MSRS.offset(place, "data"), _ENTRY_FORMAT)
            for place, index in enumerate(indices)
        }
        for part, indices in MSR_LISTS.items()
    },
}


def _capture(vcpu: str, part: Part) -> str:
    return f"{part} of {vcpu}"


@op(
    "save-vcpu",
    "KVM_GET_*",
    guest_migration.SAVE,
    uabi.GET_XSAVE2,
    xcr.GET_XCR0,
    msr.GET_MSRS,
    sregs.GET_SREGS,
    on=ioctls.Descriptor.VCPU,
)
class SaveVcpu(HostIoctl):
    """Read one part of a vCPU's state, and keep it."""

    in_vmx_operation = True

    part: Part
    vcpu: Name = VCPU

    def specification(self) -> ioctls.IoctlSpec:
        return _IOCTLS[self.part][0]

    def argument(self, host: HostProfile) -> Argument:
        size, head = self.specification().size, b""
        if self.part is Part.XSAVE:
            size = largest_image(host)
        elif self.part in MSR_LISTS:
            head = msr_list(dict.fromkeys(MSR_LISTS[self.part], 0))
            size = len(head)
        return Output(size, head, _capture(self.vcpu, self.part))

    def transition(self, machine: Machine) -> Step:
        return guest_migration.save(machine, self.vcpu, self.part)

    @property
    def places(self) -> Places:
        return _FIELDS.get(self.part, {})

    @property
    def call_name(self) -> str:
        return self.specification().name

    @property
    def text(self) -> str:
        return f"{self.call_name} of {self.vcpu}"


@op(
    "restore-vcpu",
    "KVM_SET_*",
    guest_migration.RESTORE,
    uabi.SET_XSAVE,
    uabi.READ_IMAGE,
    sregs.SET_SREGS,
    xcr.SET_XCR0,
    msr.SET_MSRS,
    on=ioctls.Descriptor.VCPU,
    errnos=(errno.EINVAL,),
)
class RestoreVcpu(FixedIoctl):
    """Write what save-vcpu kept of another vCPU."""

    part: Part
    vcpu: Name
    source: Name = VCPU

    def specification(self) -> ioctls.IoctlSpec:
        return _IOCTLS[self.part][1]

    def argument(self) -> Argument:
        return Captured(_capture(self.source, self.part))

    def unknown_in_vmx(self, vcpu: Vcpu) -> str:  # noqa: ARG002
        known = self.part is not Part.SREGS
        return "" if known else "the model does not know control registers set in VMX operation"

    def transition(self, machine: Machine) -> Step:
        return guest_migration.restore(machine, self.vcpu, self.part, self.source)

    @property
    def call_name(self) -> str:
        return self.specification().name

    @property
    def text(self) -> str:
        return f"{self.call_name} of {self.vcpu} from {self.source}"
