"""Setting and reading control registers with KVM_SET_SREGS and KVM_SET_SREGS2."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Annotated, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.model import sregs
from kvmprobe.scenarios.calls import VCPU, Argument, Captured, Output
from kvmprobe.scenarios.op_fields import U64, Members, Values
from kvmprobe.scenarios.ops._base import FixedIoctl, op, patches

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_SREGS, _SREGS2 = "sregs", "sregs2"
_CR4 = "cr4"
_CR4_OFFSET = ioctls.KVM_SREGS.offset(_CR4)
# Up to apic_base, struct kvm_sregs and struct kvm_sregs2 are the same.
SREGS_PLACES = ioctls.KVM_SREGS.places("cs.base", "cs.selector", "cr0", "cr2", "cr3", "cr4", "efer")
_ERRNOS = (errno.EINVAL,)
_Sregs = Annotated[Values, Members(ioctls.KVM_SREGS, _CR4)]
_Sregs2 = Annotated[Values, Members(ioctls.KVM_SREGS2, _CR4)]


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
    """Write back what the GET kept, with this CR4 and these members."""

    cr4: U64
    members: Values
    restores: ClassVar[str]

    def argument(self) -> Argument:
        cr4 = (_CR4_OFFSET, struct.pack("=Q", self.cr4))
        return Captured(self.restores, (cr4, *patches(self.spec, self.members)))

    def not_covered(self, machine: Machine) -> str:  # noqa: ARG002
        return sregs.not_covered(dict(self.members))

    def certain(self, machine: Machine) -> bool:
        return sregs.decided(machine, VCPU, self.cr4, dict(self.members))

    def transition(self, machine: Machine) -> Step:
        return sregs.set_sregs(machine, VCPU, self.cr4, self.restores, dict(self.members))

    @property
    def text(self) -> str:
        values = {_CR4: self.cr4, **dict(self.members)}
        shown = ", ".join(f"{name.upper()}={value:#x}" for name, value in values.items())
        return f"{self.kernel_call} {shown}"


@op("set-sregs", ioctls.SET_SREGS, sregs.SET_SREGS, errnos=_ERRNOS)
class SetSregs(_Set):
    """Write back what get-sregs kept, with this CR4 and these members."""

    cr4: U64
    members: _Sregs = ()
    restores = _SREGS


@op("set-sregs2", ioctls.SET_SREGS2, sregs.SET_SREGS, errnos=_ERRNOS)
class SetSregs2(_Set):
    """Write back what get-sregs2 kept, with this CR4 and these members."""

    cr4: U64
    members: _Sregs2 = ()
    restores = _SREGS2
