"""Ioctls on a vCPU while another thread is in KVM_RUN."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.errors import ScenarioError
from kvmprobe.model import msr, uabi, waiting, xcr
from kvmprobe.model.control import Cr4
from kvmprobe.scenarios.calls import VCPU, Call, DuringRun, Ioctl, Kick
from kvmprobe.scenarios.need import GUEST_CODE
from kvmprobe.scenarios.op_fields import U64, Name
from kvmprobe.scenarios.ops._base import Op, Places, op
from kvmprobe.scenarios.ops.guest import PAYLOAD, GuestOp
from kvmprobe.scenarios.ops.msrs import GetXfd, SetXfd
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.requirement import Requirement

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Vcpu
    from kvmprobe.model.outcome import Step


class _DuringRun(Op):
    """Another op's ioctl, which waits for KVM_RUN of a guest that spins."""

    vcpu: str
    kick: Kick
    # The file that says when its thread waits.
    requires = (*GuestOp.requires, Requirement.DESCRIPTORS_LEFT)
    needs = GUEST_CODE
    takes_init = True

    @abstractmethod
    def made(self) -> Op:
        """Return the op whose ioctl is made."""

    @property
    def places(self) -> Places:
        return self.made().places

    def lower(self, host: HostProfile) -> Call:
        call = self.made().lower(host)
        if not isinstance(call, Ioctl):
            raise ScenarioError(f"{self.name}: its call is no ioctl")
        return DuringRun(call, PAYLOAD, self.kick)

    def transition(self, machine: Machine) -> Step:
        return waiting.during_run(machine, self.vcpu, self.made().transition)

    def unknown_in_vmx(self, vcpu: Vcpu) -> str:
        known = bool(vcpu.cr4 & Cr4.VMXE.bit)
        return "" if known else "the model does not know VMX operation without CR4.VMXE"

    @property
    def text(self) -> str:
        return f"{self.made().text} during KVM_RUN, which ends by {self.kick}"


@op(
    "during-run-get-xsave2",
    "KVM_RUN",
    waiting.WAITS,
    uabi.GET_XSAVE2,
    on=Descriptor.VCPU,
    operand="KVM_GET_XSAVE2 meanwhile",
)
class GetXsave2DuringRun(_DuringRun):
    """Read XSTATE."""

    kick: Kick = Kick.BY_SIGNAL
    vcpu: Name = VCPU

    def made(self) -> Op:
        return GetXsave2(self.vcpu)


@op(
    "during-run-set-xsave",
    "KVM_RUN",
    waiting.WAITS,
    uabi.SET_XSAVE,
    uabi.READ_IMAGE,
    on=Descriptor.VCPU,
    operand="KVM_SET_XSAVE meanwhile",
    errnos=SetXsave.errnos,
)
class SetXsaveDuringRun(_DuringRun):
    """Restore XSTATE as set-xsave does."""

    xstate_bv: U64
    kick: Kick = Kick.BY_SIGNAL
    vcpu: Name = VCPU

    def made(self) -> Op:
        return SetXsave(self.xstate_bv, self.vcpu)


@op(
    "during-run-get-xcrs",
    "KVM_RUN",
    waiting.WAITS,
    xcr.GET_XCR0,
    on=Descriptor.VCPU,
    operand="KVM_GET_XCRS meanwhile",
)
class GetXcrsDuringRun(_DuringRun):
    """Read XCR0."""

    kick: Kick = Kick.BY_SIGNAL
    vcpu: Name = VCPU

    def made(self) -> Op:
        return GetXcrs(self.vcpu)


@op(
    "during-run-set-xcrs",
    "KVM_RUN",
    waiting.WAITS,
    xcr.SET_XCR0,
    on=Descriptor.VCPU,
    operand="KVM_SET_XCRS meanwhile",
    errnos=SetXcrs.errnos,
)
class SetXcrsDuringRun(_DuringRun):
    """Set XCR0."""

    xcr0: U64
    kick: Kick = Kick.BY_SIGNAL
    vcpu: Name = VCPU

    def made(self) -> Op:
        return SetXcrs(self.xcr0, self.vcpu)


@op(
    "during-run-get-xfd",
    "KVM_RUN",
    waiting.WAITS,
    msr.GET_XFD,
    on=Descriptor.VCPU,
    operand="KVM_GET_MSRS meanwhile",
)
class GetXfdDuringRun(_DuringRun):
    """Read IA32_XFD and IA32_XFD_ERR."""

    kick: Kick = Kick.BY_SIGNAL
    vcpu: Name = VCPU

    def made(self) -> Op:
        return GetXfd(self.vcpu)


@op(
    "during-run-set-xfd",
    "KVM_RUN",
    waiting.WAITS,
    msr.SET_XFD,
    on=Descriptor.VCPU,
    operand="KVM_SET_MSRS meanwhile",
)
class SetXfdDuringRun(_DuringRun):
    """Write IA32_XFD."""

    xfd: U64
    kick: Kick = Kick.BY_SIGNAL
    vcpu: Name = VCPU

    def made(self) -> Op:
        return SetXfd(self.xfd, self.vcpu)
