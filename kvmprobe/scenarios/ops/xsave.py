"""Restoring and saving XSTATE through the uabi image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.model import uabi
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
from kvmprobe.xstate import patterns
from kvmprobe.xstate.features import names
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE
from kvmprobe.xstate.malformations import Malformation, malformed_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

XSTATE_BV_FIELD = "XSTATE_BV"
_BEYOND = 64
_XSTATE_BV: Mapping[str, tuple[int, str]] = {XSTATE_BV_FIELD: (512, "Q")}
_NULL = Immediate(0)


def largest_image(host: HostProfile) -> int:
    """Return the bytes of the largest uabi image that a vCPU of this host can move.

    Permission decides its size, not what KVM offers: a CPUID table with XTILE_DATA makes it
    larger even where KVM keeps the component from the guest.
    """
    return host.uabi_size(host.user_features)


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
    "set-xsave-image",
    "KVM_SET_XSAVE",
    "Documentation/virt/kvm/api.rst: KVM_SET_XSAVE",
    "arch/x86/kernel/fpu/core.c: fpu_copy_uabi_to_guest_fpstate",
    "arch/x86/kernel/fpu/xstate.c: validate_user_xstate_header",
    errnos={"EINVAL": "XSTATE_BV, XCOMP_BV, reserved header bytes or MXCSR not accepted"},
)
@dataclass(frozen=True, slots=True)
class SetXsaveImage(Op):
    """Restore the pattern of each component in ``xstate_bv``, in an image that is odd."""

    xstate_bv: int
    malformation: Malformation = Malformation.NONE
    number: int = 0

    def __post_init__(self) -> None:
        """Accept the malformation's text."""
        object.__setattr__(self, "malformation", Malformation(self.malformation))

    def image(self, host: HostProfile) -> bytes:
        """Return the uabi image, as large as any vCPU of this host reads."""
        size = largest_image(host)
        return malformed_image(
            self.xstate_bv, self.malformation, self.number, host.layout, size, host.mxcsr_mask
        )

    def lower(self, host: HostProfile) -> Call:
        """Lower to the image."""
        return Ioctl(ioctls.SET_XSAVE.number, VCPU, Literal(self.image(host)))

    def step(self, machine: Machine) -> Step:
        """Check the header, replace all user components."""
        return uabi.set_xsave(machine, VCPU, self.image(machine.host))

    @property
    def text(self) -> str:
        """Name the components and the malformation."""
        odd = (
            ""
            if self.malformation is Malformation.NONE
            else f", {self.malformation} {self.number:#x}"
        )
        return f"{self.kernel_call} XSTATE_BV={names(self.xstate_bv)}{odd}"


@op(
    "set-xsave-at-page-end",
    "KVM_SET_XSAVE",
    "Documentation/virt/kvm/api.rst: KVM_SET_XSAVE",
    "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl",
    errnos={
        "EFAULT": "less than the vCPU's image can be read",
        "EINVAL": "the image is read, and not accepted",
    },
)
@dataclass(frozen=True, slots=True)
class SetXsaveAtPageEnd(Op):
    """Restore the first ``size`` bytes of an image, right before what cannot be read."""

    xstate_bv: int
    size: int

    def image(self, host: HostProfile) -> bytes:
        """Return as much of the image as there is."""
        whole = patterns.image(self.xstate_bv, host.layout, largest_image(host), host.mxcsr_mask)
        return whole[: self.size]

    def lower(self, host: HostProfile) -> Call:
        """Lower to the bytes at a page's end; no byte at all is a null pointer."""
        given = self.image(host)
        argument = LiteralAtPageEnd(given) if given else _NULL
        return Ioctl(ioctls.SET_XSAVE.number, VCPU, argument)

    def step(self, machine: Machine) -> Step:
        """Expect exactly the vCPU's image to be read."""
        return uabi.set_xsave(machine, VCPU, self.image(machine.host))

    @property
    def text(self) -> str:
        """Tell the size."""
        return f"{self.kernel_call} XSTATE_BV={names(self.xstate_bv)}, {self.size} bytes"


@op(
    "get-xsave2",
    "KVM_GET_XSAVE2",
    "Documentation/virt/kvm/api.rst: KVM_GET_XSAVE2",
    "arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf",
)
@dataclass(frozen=True, slots=True)
class GetXsave2(Op):
    """Read the uabi image, into a buffer that is larger than any image."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = _XSTATE_BV

    def lower(self, host: HostProfile) -> Call:
        """Lower to a buffer with room behind the image, to see where the kernel stops."""
        return Ioctl(ioctls.GET_XSAVE2.number, VCPU, Output(largest_image(host) + _BEYOND))

    def step(self, machine: Machine) -> Step:
        """Expect the image."""
        return uabi.get_xsave2(machine, VCPU)


@op(
    "get-xsave2-at-page-end",
    "KVM_GET_XSAVE2",
    "Documentation/virt/kvm/api.rst: KVM_GET_XSAVE2",
    "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl",
    errnos={"EFAULT": "less than the vCPU's image can be written"},
)
@dataclass(frozen=True, slots=True)
class GetXsave2AtPageEnd(Op):
    """Read the uabi image into ``size`` bytes, right before what cannot be written."""

    size: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a buffer at a page's end; no byte at all is a null pointer."""
        argument = OutputAtPageEnd(self.size) if self.size else _NULL
        return Ioctl(ioctls.GET_XSAVE2.number, VCPU, argument)

    def step(self, machine: Machine) -> Step:
        """Expect exactly the vCPU's image to be written."""
        return uabi.get_xsave2(machine, VCPU, self.size)

    @property
    def text(self) -> str:
        """Tell the size."""
        return f"{self.kernel_call} into {self.size} bytes"


@op(
    "get-xsave",
    "KVM_GET_XSAVE",
    "Documentation/virt/kvm/api.rst: KVM_GET_XSAVE",
    "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl",
    errnos={"EINVAL": "the vCPU's image is larger than 4096 bytes"},
)
@dataclass(frozen=True, slots=True)
class GetXsave(Op):
    """Read the uabi image with the call that knows 4096 bytes only."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = _XSTATE_BV

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a buffer with room behind the image, to see where the kernel stops."""
        return Ioctl(ioctls.GET_XSAVE.number, VCPU, Output(KVM_XSAVE_SIZE + _BEYOND))

    def step(self, machine: Machine) -> Step:
        """Expect the image, if it is of that size."""
        return uabi.get_xsave(machine, VCPU)


@op(
    "get-xsave-at-page-end",
    "KVM_GET_XSAVE",
    "Documentation/virt/kvm/api.rst: KVM_GET_XSAVE",
    "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl",
    errnos={
        "EINVAL": "the vCPU's image is larger than 4096 bytes",
        "EFAULT": "less than 4096 bytes can be written",
    },
)
@dataclass(frozen=True, slots=True)
class GetXsaveAtPageEnd(Op):
    """Read the uabi image of 4096 bytes into ``size``, right before what cannot be written."""

    size: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a buffer at a page's end; no byte at all is a null pointer."""
        argument = OutputAtPageEnd(self.size) if self.size else _NULL
        return Ioctl(ioctls.GET_XSAVE.number, VCPU, argument)

    def step(self, machine: Machine) -> Step:
        """Expect exactly 4096 bytes to be written."""
        return uabi.get_xsave(machine, VCPU, self.size)

    @property
    def text(self) -> str:
        """Tell the size."""
        return f"{self.kernel_call} into {self.size} bytes"
