"""Setting and reading IA32_XFD and IA32_XFD_ERR from the host."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.model import msr
from kvmprobe.scenarios.calls import Call, Ioctl, Literal, Output
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import VCPU
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_XFD_MSRS = (Msr.IA32_XFD, Msr.IA32_XFD_ERR)


def msr_list(values: Mapping[int, int]) -> bytes:
    """Return ``struct kvm_msrs`` with its entries."""
    head = struct.pack("=II", len(values), 0)
    return head + b"".join(struct.pack("=IIQ", index, 0, value) for index, value in values.items())


@op(
    "set-xfd",
    "KVM_SET_MSRS",
    "Documentation/virt/kvm/api.rst: KVM_SET_MSRS",
    "arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd",
)
@dataclass(frozen=True, slots=True)
class SetXfd(Op):
    """Write IA32_XFD; the kernel returns how many entries it processed."""

    xfd: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a one-entry list."""
        return Ioctl(ioctls.SET_MSRS.number, VCPU, Literal(msr_list({Msr.IA32_XFD: self.xfd})))

    def step(self, machine: Machine) -> Step:
        """Arm or disarm."""
        return msr.set_xfd(machine, VCPU, self.xfd)

    @property
    def text(self) -> str:
        """Name the components."""
        return f"{self.kernel_call} IA32_XFD={names(self.xfd)}"


@op(
    "set-xfd-err",
    "KVM_SET_MSRS",
    "Documentation/virt/kvm/api.rst: KVM_SET_MSRS",
    "arch/x86/kvm/x86.c: kvm_set_msr_common",
)
@dataclass(frozen=True, slots=True)
class SetXfdErr(Op):
    """Write IA32_XFD_ERR."""

    xfd_err: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a one-entry list."""
        values = msr_list({Msr.IA32_XFD_ERR: self.xfd_err})
        return Ioctl(ioctls.SET_MSRS.number, VCPU, Literal(values))

    def step(self, machine: Machine) -> Step:
        """Accept what the guest may have."""
        return msr.set_xfd_err(machine, VCPU, self.xfd_err)

    @property
    def text(self) -> str:
        """Name the components."""
        return f"{self.kernel_call} IA32_XFD_ERR={names(self.xfd_err)}"


@op("get-xfd", "KVM_GET_MSRS", "Documentation/virt/kvm/api.rst: KVM_GET_MSRS")
@dataclass(frozen=True, slots=True)
class GetXfd(Op):
    """Read IA32_XFD and IA32_XFD_ERR."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {
        msr.XFD_FIELD: (16, "Q"),
        msr.XFD_ERR_FIELD: (32, "Q"),
    }

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a two-entry list."""
        head = msr_list(dict.fromkeys(_XFD_MSRS, 0))
        return Ioctl(ioctls.GET_MSRS.number, VCPU, Output(len(head), head))

    def step(self, machine: Machine) -> Step:
        """Expect the last accepted values."""
        return msr.get_xfd(machine, VCPU)
