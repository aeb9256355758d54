"""Setting and reading XCR0."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.tables import XCRS
from kvmprobe.model import xcr
from kvmprobe.scenarios.calls import MAIN, VCPU, Argument, Literal, Output
from kvmprobe.scenarios.op_fields import U32, U64, Caller, Entries, Name
from kvmprobe.scenarios.ops._base import FixedIoctl, op
from kvmprobe.scenarios.ops.lifecycle import OnVcpu, on_which
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

XCRS_PLACES = {xcr.XCR0_FIELD: (XCRS.offset(0, "value"), "Q")}
_XCRS_SIZE = ioctls.SET_XCRS.size


@op(
    "set-xcrs",
    ioctls.SET_XCRS,
    xcr.SET_XCR0,
    errnos=(errno.EINVAL,),
)
class SetXcrs(FixedIoctl):
    """Set XCR0 with a one-entry list."""

    in_vmx_operation = True

    xcr0: U64
    vcpu: Name = VCPU
    by: Caller = MAIN

    def argument(self) -> Argument:
        xcrs = XCRS.pack([(0, self.xcr0)], 0)
        return Literal(xcrs.ljust(_XCRS_SIZE, b"\0"))

    def transition(self, machine: Machine) -> Step:
        return xcr.set_xcr0(machine, self.vcpu, self.xcr0)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} XCR0={names(self.xcr0)}{on_which(self.vcpu, self.by)}"


@op(
    "set-xcrs-list",
    ioctls.SET_XCRS,
    xcr.SET_XCRS,
    errnos=(errno.EINVAL,),
)
class SetXcrsList(FixedIoctl):
    """Set extended control registers from a list of (number, value); KVM has room for 16."""

    entries: Entries
    flags: U32 = 0

    def argument(self) -> Argument:
        # Entries after the 16th are in the structure's padding, and then beyond it.
        return Literal(XCRS.pack(self.entries, self.flags).ljust(_XCRS_SIZE, b"\0"))

    def transition(self, machine: Machine) -> Step:
        return xcr.set_xcrs(machine, VCPU, self.entries, self.flags)

    @property
    def text(self) -> str:
        first = ", ".join(f"xcr{i}={names(v)}" for i, v in self.entries[:2])
        return f"{self.kernel_call}({len(self.entries)} entries: {first}; flags={self.flags})"


@op("get-xcrs", ioctls.GET_XCRS, xcr.GET_XCR0, output=XCRS_PLACES)
class GetXcrs(OnVcpu, FixedIoctl):
    """Read XCR0."""

    in_vmx_operation = True

    vcpu: Name = VCPU
    by: Caller = MAIN

    def argument(self) -> Argument:
        return Output(_XCRS_SIZE)

    def transition(self, machine: Machine) -> Step:
        return xcr.get_xcr0(machine, self.vcpu)
