"""Reading and setting a vCPU's state of nested virtualization."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.model import nested
from kvmprobe.model.nested import HEAD_SIZE, NO_ADDRESS, VMCS_SIZE, NestedState
from kvmprobe.scenarios.calls import VCPU, Argument, Captured, Literal, Output
from kvmprobe.scenarios.need import NESTED_VMX
from kvmprobe.scenarios.op_fields import U16, U32, U64, Name, Size
from kvmprobe.scenarios.ops._base import FixedIoctl, op

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine, Vcpu
    from kvmprobe.model.outcome import Step

_HEAD = ioctls.KVM_NESTED_STATE
_HDR = _HEAD.offset("hdr")
_PLACES = {
    **_HEAD.places("flags", "format", "size"),
    **{
        name: (_HDR + at, code)
        for name, (at, code) in ioctls.KVM_VMX_NESTED_STATE_HDR.places(
            "vmxon_pa", "vmcs12_pa"
        ).items()
    },
}
_SIZES = struct.Struct("=HHI")
_ROOM = HEAD_SIZE + 2 * VMCS_SIZE


def _capture(vcpu: str) -> str:
    return f"{nested.SAVED} of {vcpu}"


@op(
    "get-nested-state",
    ioctls.GET_NESTED_STATE,
    nested.GET_NESTED_STATE,
    errnos=(errno.E2BIG,),
    output=_PLACES,
    needs=NESTED_VMX,
)
class GetNestedState(FixedIoctl):
    """Read the state into a buffer that is said to have so many bytes."""

    in_vmx_operation = True
    room: Size = HEAD_SIZE

    def argument(self) -> Argument:
        return Output(max(self.room, HEAD_SIZE), _SIZES.pack(0, 0, self.room))

    def transition(self, machine: Machine) -> Step:
        return nested.get_nested_state(machine, VCPU, self.room)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}(size={self.room})"


@op(
    "set-nested-state",
    ioctls.SET_NESTED_STATE,
    nested.SET_NESTED_STATE,
    errnos=(errno.EINVAL,),
    needs=NESTED_VMX,
)
class SetNestedState(FixedIoctl):
    """Set a state without a VMCS; what follows the head is zero."""

    in_vmx_operation = True
    vmxon: U64 = NO_ADDRESS
    vmcs12: U64 = NO_ADDRESS
    flags: U16 = 0
    format: U16 = 0
    size: U32 = HEAD_SIZE
    smm_flags: U16 = 0
    vmx_flags: U32 = 0
    deadline: U64 = 0
    room: ClassVar[int] = _ROOM

    @property
    def given(self) -> NestedState:
        """The state as the model takes it."""
        return NestedState(
            self.flags,
            self.format,
            self.size,
            self.vmxon,
            self.vmcs12,
            self.smm_flags,
            self.vmx_flags,
        )

    def argument(self) -> Argument:
        head = _SIZES.pack(self.flags, self.format, self.size)
        header = ioctls.KVM_VMX_NESTED_STATE_HDR.packed.pack(
            self.vmxon, self.vmcs12, self.smm_flags, self.vmx_flags, self.deadline
        )
        return Literal((head + header).ljust(self.room, b"\0"))

    def refused(self, machine: Machine) -> str:  # noqa: ARG002
        return nested.not_known(self.given)

    def unknown_in_vmx(self, vcpu: Vcpu) -> str:
        known = vcpu.vmcs12 == NO_ADDRESS
        return "" if known else "the model does not know how a vCPU with a VMCS leaves it"

    def transition(self, machine: Machine) -> Step:
        return nested.set_nested_state(machine, VCPU, self.given)

    @property
    def text(self) -> str:
        shown = f"vmxon_pa={self.vmxon:#x}, vmcs12_pa={self.vmcs12:#x}, size={self.size}"
        more = {n: getattr(self, n) for n in ("flags", "format", "smm_flags", "vmx_flags")}
        changed = "".join(f", {name}={value:#x}" for name, value in more.items() if value)
        return f"{self.kernel_call}({shown}{changed})"


@op(
    "save-nested-state",
    ioctls.GET_NESTED_STATE,
    nested.GET_NESTED_STATE,
    output=_PLACES,
    needs=NESTED_VMX,
)
class SaveNestedState(FixedIoctl):
    """Read all of the state, and keep it."""

    in_vmx_operation = True
    vcpu: Name = VCPU

    def argument(self) -> Argument:
        return Output(_ROOM, _SIZES.pack(0, 0, _ROOM), _capture(self.vcpu))

    def transition(self, machine: Machine) -> Step:
        return nested.save_nested_state(machine, self.vcpu)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} of {self.vcpu}"


@op(
    "restore-nested-state",
    ioctls.SET_NESTED_STATE,
    nested.RESTORE_NESTED_STATE,
    errnos=(errno.EINVAL,),
    needs=NESTED_VMX,
)
class RestoreNestedState(FixedIoctl):
    """Write what save-nested-state kept of another vCPU."""

    vcpu: Name
    source: Name = VCPU

    def argument(self) -> Argument:
        return Captured(_capture(self.source))

    def refused(self, machine: Machine) -> str:
        return nested.not_restorable(machine, self.vcpu, self.source)

    def transition(self, machine: Machine) -> Step:
        return nested.restore_nested_state(machine, self.vcpu, self.source)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} of {self.vcpu} from {self.source}"
