"""When KVM brings the CPUID values up to date that follow CR4, XCR0 and XSS.

Since Linux 6.14 it does so when the table is read, by KVM_GET_CPUID2 or by CPUID in the guest, and
when a table is set.  A correct kernel shows no difference to doing it at once; one with
:attr:`Behaviour.CPUID_COMPARED_UNREFRESHED` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.xstate.features import FPSSE

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu

_OSXSAVE, _PKE = 1 << 18, 1 << 22


class Registers(NamedTuple):
    """The registers that CPUID values follow."""

    cr4: int
    xcr0: int
    xss: int


class Refresh(NamedTuple):
    """The registers that the table's values follow, and those when KVM last looked at them.

    ``cpuid_dynamic_bits_dirty`` is set if a register has changed since.
    """

    held: Registers
    seen: Registers


def _registers_of(vcpu: Vcpu) -> Registers:
    return Registers(vcpu.cr4, vcpu.xcr0, vcpu.xss)


def _is_dirty(before: Registers, now: Registers) -> bool:
    """Return True if a change sets ``cpuid_dynamic_bits_dirty``.

    :see: arch/x86/kvm/x86.c: kvm_post_set_cr4, __kvm_set_xcr
    """
    cr4, xcr0 = (before.cr4 ^ now.cr4) & (_OSXSAVE | _PKE), (before.xcr0 ^ now.xcr0) & ~FPSSE
    return bool(cr4 or xcr0 or before.xss != now.xss)


def refreshed(host: HostProfile, vcpu: Vcpu) -> Vcpu:
    """Return a vCPU whose table was read or set, and is up to date unless an update was lost.

    :see: arch/x86/kvm/cpuid.c: kvm_update_cpuid_runtime
    """
    if Behaviour.CPUID_COMPARED_UNREFRESHED not in host.behaviours:
        return vcpu
    now, known = _registers_of(vcpu), vcpu.cpuid_refresh
    if known is not None and not _is_dirty(known.seen, now):
        return vcpu
    return vcpu._replace(cpuid_refresh=Refresh(now, now))


def lost(vcpu: Vcpu) -> Vcpu:
    """Return a vCPU whose pending update went to a table that KVM then refused.

    :see: arch/x86/kvm/cpuid.c: kvm_set_cpuid, before commit e2b43fb25243
    """
    now = _registers_of(vcpu)
    held = vcpu.cpuid_refresh.held if vcpu.cpuid_refresh else now
    return vcpu._replace(cpuid_refresh=Refresh(held, now))


def as_held(vcpu: Vcpu) -> Vcpu:
    """Return a vCPU with the registers that the values in its table follow.

    :see: arch/x86/kvm/cpuid.c: kvm_update_cpuid_runtime
    """
    if vcpu.cpuid_refresh is None:
        return vcpu
    held = vcpu.cpuid_refresh.held
    return vcpu._replace(cr4=held.cr4, xcr0=held.xcr0, xss=held.xss)
