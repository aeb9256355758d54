"""CPUID features that rules depend on, each by its place: leaf, sub-leaf, register, bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.xstate import cpuid
from kvmprobe.xstate.cpuid import Register

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu

Feature = tuple[int, int, Register, int]
SHSTK: Feature = (7, 0, Register.ECX, 7)
IBT: Feature = (7, 0, Register.EDX, 20)
LA57: Feature = (7, 0, Register.ECX, 16)
VMX: Feature = cpuid.VMX
LONG_MODE: Feature = (0x8000_0001, 0, Register.EDX, 29)
NX: Feature = (0x8000_0001, 0, Register.EDX, 20)


def offers(host: HostProfile, feature: Feature) -> bool:
    """Return True if KVM offers a feature.

    :see: arch/x86/kvm/cpuid.h: kvm_cpu_cap_has
    """
    return host.supported.has(*feature)


def has_feature(host: HostProfile, vcpu: Vcpu, feature: Feature) -> bool:
    """Return True if KVM offers a feature and the guest's CPUID has it.

    :see: arch/x86/kvm/cpuid.h: guest_cpu_cap_has
    """
    return offers(host, feature) and vcpu.cpuid is not None and vcpu.cpuid.has(*feature)
