"""Setting and reading control registers with KVM_SET_SREGS and KVM_SET_SREGS2."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.model import sregs
from kvmprobe.scenarios.calls import Call, Captured, Ioctl, Output
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import VCPU

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_SREGS, _SREGS2 = "sregs", "sregs2"
_CR4_OFFSET = 248
# struct kvm_sregs begins as struct kvm_sregs2 does, up to apic_base.
_FIELDS = {
    "cs_base": (0, "Q"),
    "cs_selector": (12, "H"),
    sregs.CR0_FIELD: (224, "Q"),
    "cr2": (232, "Q"),
    "cr3": (240, "Q"),
    sregs.CR4_FIELD: (_CR4_OFFSET, "Q"),
    "efer": (264, "Q"),
}
_CITES = ("Documentation/virt/kvm/api.rst: KVM_SET_SREGS", "arch/x86/kvm/x86.c: __set_sregs_common")
_ERRNOS = {
    "EINVAL": "a bit of CR4 that KVM or the guest's CPUID lacks, or long mode without CR4.PAE"
}


class _Get(Op):
    """Read control registers, and keep them for the SET."""

    spec: ClassVar[ioctls.IoctlSpec]
    kept_as: ClassVar[str]
    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = _FIELDS

    __slots__ = ()

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the structure."""
        return Ioctl(self.spec.number, VCPU, Output(self.spec.size, capture=self.kept_as))

    def step(self, machine: Machine) -> Step:
        """Expect the last accepted values."""
        return sregs.get_sregs(machine, VCPU, self.kept_as)


@op("get-sregs", "KVM_GET_SREGS", *_CITES)
@dataclass(frozen=True, slots=True)
class GetSregs(_Get):
    """Read ``struct kvm_sregs``."""

    spec: ClassVar[ioctls.IoctlSpec] = ioctls.GET_SREGS
    kept_as: ClassVar[str] = _SREGS


@op("get-sregs2", "KVM_GET_SREGS2", *_CITES)
@dataclass(frozen=True, slots=True)
class GetSregs2(_Get):
    """Read ``struct kvm_sregs2``."""

    spec: ClassVar[ioctls.IoctlSpec] = ioctls.GET_SREGS2
    kept_as: ClassVar[str] = _SREGS2


@op("set-sregs", "KVM_SET_SREGS", *_CITES, errnos=_ERRNOS)
@dataclass(frozen=True, slots=True)
class SetSregs(Op):
    """Write back what get-sregs kept, with this CR4."""

    cr4: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the kept structure, patched."""
        patch = (_CR4_OFFSET, struct.pack("=Q", self.cr4))
        return Ioctl(ioctls.SET_SREGS.number, VCPU, Captured(_SREGS, (patch,)))

    def step(self, machine: Machine) -> Step:
        """Accept legal bits."""
        return sregs.set_sregs(machine, VCPU, self.cr4, _SREGS)

    @property
    def text(self) -> str:
        """Show CR4."""
        return f"{self.kernel_call} CR4={self.cr4:#x}"


@op("set-sregs2", "KVM_SET_SREGS2", *_CITES, errnos=_ERRNOS)
@dataclass(frozen=True, slots=True)
class SetSregs2(Op):
    """Write back what get-sregs2 kept, with this CR4."""

    cr4: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the kept structure, patched."""
        patch = (_CR4_OFFSET, struct.pack("=Q", self.cr4))
        return Ioctl(ioctls.SET_SREGS2.number, VCPU, Captured(_SREGS2, (patch,)))

    def step(self, machine: Machine) -> Step:
        """Accept legal bits."""
        return sregs.set_sregs(machine, VCPU, self.cr4, _SREGS2)

    @property
    def text(self) -> str:
        """Show CR4."""
        return f"{self.kernel_call} CR4={self.cr4:#x}"
