"""Access to an MSR that KVM does not know, or that needs a feature the guest's CPUID lacks.

What an MSR that exists refuses is not ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile


def is_ignored(host: HostProfile) -> bool:
    """Return True if such access succeeds, by the guest as well: it reads 0 and keeps nothing.

    :see: arch/x86/kvm/x86.c: kvm_do_msr_access, ignore_msrs
    """
    return Behaviour.UNSUPPORTED_MSRS_IGNORED in host.behaviours


def is_readable(host: HostProfile, index: int) -> bool:
    """Return True if the host reads 0, because KVM lists the MSR or ignores such access.

    :see: arch/x86/kvm/x86.c: kvm_do_msr_access, kvm_is_advertised_msr
    """
    return index in host.msrs or is_ignored(host)


def is_writable(host: HostProfile, index: int, value: int) -> bool:
    """Return True if the host can write a value, which is lost: 0 if KVM lists the MSR.

    :see: arch/x86/kvm/x86.c: kvm_do_msr_access, kvm_is_advertised_msr
    """
    return is_ignored(host) or (not value and index in host.msrs)
