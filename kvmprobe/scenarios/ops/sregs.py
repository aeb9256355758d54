"""Setting and reading control registers with KVM_SET_SREGS and KVM_SET_SREGS2."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.model import sregs
from kvmprobe.scenarios.calls import VCPU, Argument, Captured, Output
from kvmprobe.scenarios.op_fields import U64
from kvmprobe.scenarios.ops._base import FixedIoctl, op

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_SREGS, _SREGS2 = "sregs", "sregs2"
_CR4_OFFSET = ioctls.KVM_SREGS.offset("cr4")
# Up to apic_base, struct kvm_sregs and struct kvm_sregs2 are the same.
SREGS_PLACES = ioctls.KVM_SREGS.places("cs.base", "cs.selector", "cr0", "cr2", "cr3", "cr4", "efer")
_ERRNOS = (errno.EINVAL,)


class _Get(FixedIoctl):
    """Read control registers, and keep them for the SET."""

    def argument(self) -> Argument:
        return Output(self.spec.size, capture=self.keeps)

    def transition(self, machine: Machine) -> Step:
        return sregs.get_sregs(machine, VCPU, self.keeps)


@op("get-sregs", ioctls.GET_SREGS, sregs.GET_SREGS, output=SREGS_PLACES)
class GetSregs(_Get):
    """Read ``struct kvm_sregs``."""

    keeps = _SREGS


@op("get-sregs2", ioctls.GET_SREGS2, sregs.GET_SREGS, output=SREGS_PLACES)
class GetSregs2(_Get):
    """Read ``struct kvm_sregs2``."""

    keeps = _SREGS2


class _Set(FixedIoctl):
    """Write back what the GET kept, with this CR4."""

    cr4: U64
    restores: ClassVar[str]

    def argument(self) -> Argument:
        return Captured(self.restores, ((_CR4_OFFSET, struct.pack("=Q", self.cr4)),))

    def transition(self, machine: Machine) -> Step:
        return sregs.set_sregs(machine, VCPU, self.cr4, self.restores)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} CR4={self.cr4:#x}"


@op("set-sregs", ioctls.SET_SREGS, sregs.SET_SREGS, errnos=_ERRNOS)
class SetSregs(_Set):
    """Write back what get-sregs kept, with this CR4."""

    cr4: U64
    restores = _SREGS


@op("set-sregs2", ioctls.SET_SREGS2, sregs.SET_SREGS, errnos=_ERRNOS)
class SetSregs2(_Set):
    """Write back what get-sregs2 kept, with this CR4."""

    cr4: U64
    restores = _SREGS2
