"""Restoring and saving XSTATE through the uabi image."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.fields import XSTATE_BV, places
from kvmprobe.model import uabi
from kvmprobe.scenarios.calls import (
    MAIN,
    VCPU,
    Argument,
    Immediate,
    Literal,
    LiteralAtPageEnd,
    Output,
    OutputAtPageEnd,
    SleepingLiteral,
)
from kvmprobe.scenarios.need import PRIVILEGE
from kvmprobe.scenarios.op_fields import U64, Caller, Name, Size
from kvmprobe.scenarios.ops._base import FixedIoctl, HostIoctl, op
from kvmprobe.scenarios.ops.lifecycle import OnVcpu, on_which
from kvmprobe.scenarios.requirement import Requirement
from kvmprobe.xstate import patterns
from kvmprobe.xstate.features import names
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE
from kvmprobe.xstate.malformations import Malformation, malformed_image

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

XSTATE_BV_FIELD = "XSTATE_BV"
IMAGE_PLACES = places((XSTATE_BV,))
_BEYOND = 64
_REFUSED = (errno.EINVAL,)


def largest_image(host: HostProfile) -> int:
    """Return the largest size of a uabi image of a vCPU of this host, bytes.

    It depends on permission, not on what KVM offers: a CPUID table with XTILE_DATA makes the
    image larger even if KVM does not give the component to the guest.
    """
    return host.uabi_size(host.user_features)


def whole_image(xstate_bv: int, host: HostProfile) -> bytes:
    """Return the image with the patterns of ``xstate_bv``, as large as that of any vCPU."""
    return patterns.image(xstate_bv, host.layout, largest_image(host), host.mxcsr_mask)


def at_page_end(given: bytes) -> Argument:
    """Return bytes that end where memory ends; a null pointer if there are none."""
    return LiteralAtPageEnd(given) if given else Immediate(0)


def room_at_page_end(size: int) -> Argument:
    """Return a buffer that ends where memory ends; a null pointer if it is empty."""
    return OutputAtPageEnd(size) if size else Immediate(0)


@op("set-xsave", ioctls.SET_XSAVE, uabi.SET_XSAVE, uabi.READ_IMAGE, errnos=_REFUSED)
class SetXsave(HostIoctl):
    """Restore the pattern of each component in ``xstate_bv``; all others are INIT."""

    in_vmx_operation = True

    xstate_bv: U64
    vcpu: Name = VCPU
    by: Caller = MAIN

    def image(self, host: HostProfile) -> bytes:
        return whole_image(self.xstate_bv, host)

    def argument(self, host: HostProfile) -> Argument:
        return Literal(self.image(host))

    def transition(self, machine: Machine) -> Step:
        return uabi.set_xsave(machine, self.vcpu, self.image(machine.host))

    @property
    def text(self) -> str:
        shown = f"{self.kernel_call} XSTATE_BV={names(self.xstate_bv)}"
        return f"{shown}{on_which(self.vcpu, self.by)}"


@op(
    "set-xsave-asleep",
    ioctls.SET_XSAVE,
    uabi.SET_XSAVE,
    uabi.READ_IMAGE,
    errnos=_REFUSED,
    requires=(Requirement.DESCRIPTORS_LEFT,),
    needs=PRIVILEGE,
)
class SetXsaveAsleep(HostIoctl):
    """As set-xsave, from an image on pages that the kernel sleeps for.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl, which copies the image before it looks at it
    """

    xstate_bv: U64

    def image(self, host: HostProfile) -> bytes:
        return whole_image(self.xstate_bv, host)

    def argument(self, host: HostProfile) -> Argument:
        return SleepingLiteral(self.image(host))

    def transition(self, machine: Machine) -> Step:
        return uabi.set_xsave(machine, VCPU, self.image(machine.host))

    @property
    def text(self) -> str:
        return f"{self.kernel_call} XSTATE_BV={names(self.xstate_bv)}, after a sleep"


@op("set-xsave-image", ioctls.SET_XSAVE, uabi.SET_XSAVE, uabi.READ_IMAGE, errnos=_REFUSED)
class SetXsaveImage(HostIoctl):
    """Restore the pattern of each component in ``xstate_bv``, in a malformed image."""

    xstate_bv: U64
    malformation: Malformation = Malformation.NONE
    number: U64 = 0

    def image(self, host: HostProfile) -> bytes:
        size = largest_image(host)
        return malformed_image(
            self.xstate_bv, self.malformation, self.number, host.layout, size, host.mxcsr_mask
        )

    def argument(self, host: HostProfile) -> Argument:
        return Literal(self.image(host))

    def transition(self, machine: Machine) -> Step:
        return uabi.set_xsave(machine, VCPU, self.image(machine.host))

    @property
    def text(self) -> str:
        shown = f"{self.kernel_call} XSTATE_BV={names(self.xstate_bv)}"
        if self.malformation is Malformation.NONE:
            return shown
        return f"{shown}, {self.malformation} {self.number:#x}"


@op(
    "set-xsave-at-page-end",
    ioctls.SET_XSAVE,
    uabi.READ_IMAGE,
    uabi.SET_XSAVE,
    errnos=(errno.EFAULT, errno.EINVAL),
)
class SetXsaveAtPageEnd(HostIoctl):
    """Restore the first ``size`` bytes of an image; the memory after them cannot be read."""

    xstate_bv: U64
    size: Size

    def image(self, host: HostProfile) -> bytes:
        return whole_image(self.xstate_bv, host)[: self.size]

    def argument(self, host: HostProfile) -> Argument:
        return at_page_end(self.image(host))

    def transition(self, machine: Machine) -> Step:
        return uabi.set_xsave(machine, VCPU, self.image(machine.host))

    @property
    def text(self) -> str:
        return f"{self.kernel_call} XSTATE_BV={names(self.xstate_bv)}, {self.size} bytes"


@op("get-xsave2", ioctls.GET_XSAVE2, uabi.GET_XSAVE2, output=IMAGE_PLACES)
class GetXsave2(OnVcpu, HostIoctl):
    """Read the uabi image into a buffer that is larger than any image."""

    in_vmx_operation = True

    vcpu: Name = VCPU
    by: Caller = MAIN

    def argument(self, host: HostProfile) -> Argument:
        # Room after the image shows where the kernel stops.
        return Output(largest_image(host) + _BEYOND)

    def transition(self, machine: Machine) -> Step:
        return uabi.get_xsave2(machine, self.vcpu)


@op(
    "get-xsave2-at-page-end",
    ioctls.GET_XSAVE2,
    uabi.GET_XSAVE2,
    errnos=(errno.EFAULT,),
)
class GetXsave2AtPageEnd(FixedIoctl):
    """Read the uabi image into ``size`` bytes; the memory after them cannot be written."""

    size: Size

    def argument(self) -> Argument:
        return room_at_page_end(self.size)

    def transition(self, machine: Machine) -> Step:
        return uabi.get_xsave2(machine, VCPU, self.size)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} into {self.size} bytes"


@op(
    "get-xsave",
    ioctls.GET_XSAVE,
    uabi.GET_XSAVE,
    errnos=(errno.EINVAL,),
    output=IMAGE_PLACES,
)
class GetXsave(FixedIoctl):
    """Read the uabi image with the call that is limited to 4096 bytes."""

    def argument(self) -> Argument:
        return Output(KVM_XSAVE_SIZE + _BEYOND)

    def transition(self, machine: Machine) -> Step:
        return uabi.get_xsave(machine, VCPU)


@op(
    "get-xsave-at-page-end",
    ioctls.GET_XSAVE,
    uabi.GET_XSAVE,
    errnos=(errno.EINVAL, errno.EFAULT),
)
class GetXsaveAtPageEnd(FixedIoctl):
    """Read the uabi image of 4096 bytes into ``size`` bytes before unwritable memory."""

    size: Size

    def argument(self) -> Argument:
        return room_at_page_end(self.size)

    def transition(self, machine: Machine) -> Step:
        return uabi.get_xsave(machine, VCPU, self.size)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} into {self.size} bytes"
