"""Saving a vCPU's state with the GET ioctls, and restoring the same bytes into another vCPU."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import msr_name
from kvmprobe.abi.payload import PLACES
from kvmprobe.abi.tables import MSRS, XCRS
from kvmprobe.model import guest_migration, literal, msr, sregs, uabi, xcr
from kvmprobe.model.guest_migration import MSR_LISTS, Part
from kvmprobe.scenarios.calls import VCPU, Argument, Captured, Literal, Output
from kvmprobe.scenarios.literal_fields import Saved
from kvmprobe.scenarios.op_fields import Name
from kvmprobe.scenarios.ops._base import FixedIoctl, HostIoctl, Places, op
from kvmprobe.scenarios.ops.msrs import msr_list, unknown_msr
from kvmprobe.scenarios.ops.sregs import SREGS_PLACES
from kvmprobe.scenarios.ops.xcrs import XCRS_PLACES
from kvmprobe.scenarios.ops.xsave import IMAGE_PLACES, largest_image

if TYPE_CHECKING:
    from collections.abc import Mapping

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
_CONTROL = (sregs.CR0_FIELD, sregs.CR4_FIELD, sregs.EFER_FIELD)
_RIP = ioctls.KVM_REGS.places("rip")["rip"]
_CODE = range(PLACES["CODE"], PLACES["COMMAND"])
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
    """Write what save-vcpu kept of another vCPU, or what was saved of one in another process.

    :ivar content: the latter, as GET returned it; the guest was between two commands
    """

    part: Part
    vcpu: Name
    source: Name = VCPU
    content: Saved = b""

    def specification(self) -> ioctls.IoctlSpec:
        return _IOCTLS[self.part][1]

    def argument(self) -> Argument:
        if self.content:
            return Literal(self.content)
        return Captured(_capture(self.source, self.part))

    def refused(self, machine: Machine) -> str:
        if not self.content:
            return ""
        least = self.specification().size
        if self.part is Part.XSAVE:
            least = machine.vcpu(self.vcpu).fpstate.uabi_size
        elif self.part in MSR_LISTS:
            least = MSRS.offset(MSRS.count(self.content.ljust(least, b"\0")))
        if len(self.content) < least:
            return f"expected {least} bytes of content, not {len(self.content)}"
        return _refused(self.part, self.content)

    @property
    def of_payload(self) -> bool:
        return bool(self.content)

    @property
    def registers(self) -> Mapping[str, int]:
        """The control registers in the content."""
        return {name: _read(self.content, *SREGS_PLACES[name]) for name in _CONTROL}

    def unknown_in_vmx(self, vcpu: Vcpu) -> str:  # noqa: ARG002
        known = self.part is not Part.SREGS
        return "" if known else "the model does not know control registers set in VMX operation"

    def transition(self, machine: Machine) -> Step:
        if not self.content:
            return guest_migration.restore(machine, self.vcpu, self.part, self.source)
        if self.part in MSR_LISTS:
            return msr.set_msrs(machine, self.vcpu, _entries(self.content))
        match self.part:
            case Part.XSAVE:
                return uabi.set_xsave(machine, self.vcpu, self.content)
            case Part.XCRS:
                values = dict(XCRS.entries(self.content, XCRS.count(self.content)))
                return xcr.set_xcr0(machine, self.vcpu, values.get(0, 0))
            case Part.SREGS:
                return sregs.restore_registers(machine, self.vcpu, self.registers)
            case _:
                return guest_migration.restore_plain(machine, self.vcpu, self.part)

    @property
    def call_name(self) -> str:
        return self.specification().name

    @property
    def text(self) -> str:
        if self.content:
            return f"{self.call_name} of {self.vcpu}, {len(self.content)} saved bytes"
        return f"{self.call_name} of {self.vcpu} from {self.source}"


def _entries(content: bytes) -> list[tuple[int, int]]:
    return [(index, value) for index, value in MSRS.entries(content, MSRS.count(content))]


def _read(content: bytes, offset: int, code: str) -> int:
    value: int = struct.unpack_from(f"={code}", content, offset)[0]
    return value


def _refused(part: Part, content: bytes) -> str:
    """Return why the model does not know what a guest with this content does; empty if it does."""
    if part is Part.REGS and _read(content, *_RIP) not in _CODE:
        return "RIP is not in the guest payload"
    if part is Part.XSAVE:
        return literal.uncovered_image(content)
    return unknown_msr(index for index, _ in _entries(content)) if part in MSR_LISTS else ""
