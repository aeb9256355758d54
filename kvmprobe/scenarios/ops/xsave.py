"""Restoring and saving XSTATE through the uabi image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.model import uabi
from kvmprobe.scenarios.calls import Call, Ioctl, Literal, Output
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import VCPU
from kvmprobe.xstate import patterns
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

XSTATE_BV_FIELD = "XSTATE_BV"
_BEYOND = 64


def largest_image(host: HostProfile) -> int:
    """Return the bytes of the largest uabi image this host can ask for."""
    return host.uabi_size(host.kvm_xcr0)


@op(
    "set-xsave",
    "KVM_SET_XSAVE",
    "Documentation/virt/kvm/api.rst: KVM_SET_XSAVE",
    "arch/x86/kernel/fpu/core.c: fpu_copy_uabi_to_guest_fpstate",
    errnos={"EINVAL": "XSTATE_BV, XCOMP_BV, reserved header bytes or MXCSR not accepted"},
)
@dataclass(frozen=True, slots=True)
class SetXsave(Op):
    """Restore the pattern of each component in ``xstate_bv``, all others INIT."""

    xstate_bv: int

    def image(self, host: HostProfile) -> bytes:
        """Return the uabi image, as large as any vCPU of this host reads."""
        return patterns.image(self.xstate_bv, host.layout, largest_image(host), host.mxcsr_mask)

    def lower(self, host: HostProfile) -> Call:
        """Lower to the image."""
        return Ioctl(ioctls.SET_XSAVE.number, VCPU, Literal(self.image(host)))

    def step(self, machine: Machine) -> Step:
        """Check the header, replace all user components."""
        return uabi.set_xsave(machine, VCPU, self.image(machine.host))

    @property
    def text(self) -> str:
        """Name the components."""
        return f"{self.kernel_call} XSTATE_BV={names(self.xstate_bv)}"


@op(
    "get-xsave2",
    "KVM_GET_XSAVE2",
    "Documentation/virt/kvm/api.rst: KVM_GET_XSAVE2",
    "arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf",
)
@dataclass(frozen=True, slots=True)
class GetXsave2(Op):
    """Read the uabi image, into a buffer that is larger than any image."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {XSTATE_BV_FIELD: (512, "Q")}

    def lower(self, host: HostProfile) -> Call:
        """Lower to a buffer with room behind the image, to see where the kernel stops."""
        return Ioctl(ioctls.GET_XSAVE2.number, VCPU, Output(largest_image(host) + _BEYOND))

    def step(self, machine: Machine) -> Step:
        """Expect the image."""
        return uabi.get_xsave2(machine, VCPU)
